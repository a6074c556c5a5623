<#
.SYNOPSIS
Finds Python and starts aivt.py with it.

.DESCRIPTION
aivt.py does the rest: it sets AIVT up if needed, then runs the command. The exit code is passed on.

.PARAMETER Arguments
The command and its options, separated by commas.

.EXAMPLE
.\scripts\aivt.ps1 -Arguments status, --json
#>
[CmdletBinding()]
param(
    [string[]] $Arguments = @()
)

Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'

function Test-Python {
    <#
    .SYNOPSIS
    Tells whether a command starts a Python 3. The Microsoft Store's placeholder exits with 9009 instead.
    #>
    [CmdletBinding()]
    [OutputType([bool])]
    param(
        [string] $Program,
        [string[]] $Options
    )

    if (-not (Get-Command $Program -ErrorAction SilentlyContinue)) {
        return $false
    }
    # Under Stop, Windows PowerShell 5.1 takes a redirected stderr line for an error of ours.
    $ErrorActionPreference = 'Continue'
    & $Program @Options -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>$null | Out-Null
    return $LASTEXITCODE -eq 0
}

# The launcher knows every installed version. Whatever `python` is, aivt.py judges it and names the fix.
foreach ($Candidate in 'py -3.13', 'py -3.12', 'py -3.14', 'py -3.11', 'python', 'python3') {
    $Program, $Options = $Candidate.Split(' ')
    $Options = @($Options | Where-Object { $_ })
    if (Test-Python -Program $Program -Options $Options) {
        & $Program @Options (Join-Path $PSScriptRoot 'aivt.py') @Arguments
        exit $LASTEXITCODE
    }
}

[Console]::Error.WriteLine(
    'AIVT: no Python was found. Install it with "winget install Python.Python.3.13", then open a new terminal.'
)
exit 3
