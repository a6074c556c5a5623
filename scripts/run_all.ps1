<#
.SYNOPSIS
Starts the show: every process, then the control panel in the browser.

.DESCRIPTION
Sets AIVT up first if needed. Runs in the foreground; Ctrl+C stops everything in order.

.PARAMETER Rehearsal
Post nothing to Twitch; OBS and VTube Studio stay real.

.PARAMETER NoBrowser
Do not open the control panel.

.PARAMETER Without
Processes to leave out: asr, policy, tts, twitch, obs or vts, separated by commas.

.PARAMETER Tabs
For developers: each process in a tab of its own in Windows Terminal, or in a window where that is missing.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File scripts\run_all.ps1 -Rehearsal

.EXAMPLE
powershell -ExecutionPolicy Bypass -File scripts\run_all.ps1 -Tabs -Without tts
#>
[CmdletBinding(DefaultParameterSetName = 'Show')]
param(
    [Parameter(ParameterSetName = 'Show')] [switch] $Rehearsal,
    [Parameter(ParameterSetName = 'Show')] [switch] $NoBrowser,
    [Parameter(ParameterSetName = 'Tabs', Mandatory = $true)] [switch] $Tabs,
    [string[]] $Without = @()
)

Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'

# powershell -File hands "tts,policy" over as one string; at a prompt it is two.
$LeftOut = @($Without | ForEach-Object { $_.Split(',') } | ForEach-Object { $_.Trim() } | Where-Object { $_ })

if ($Tabs) {
    $Names = @('orchestrator', 'asr', 'policy', 'tts' | Where-Object { $LeftOut -notcontains $_ })
    $Shells = foreach ($Name in $Names) {
        '-NoExit -ExecutionPolicy Bypass -File "{0}"' -f (Join-Path $PSScriptRoot ('run_{0}.ps1' -f $Name))
    }
    if (Get-Command wt -ErrorAction SilentlyContinue) {
        # A named window: -w 0 from a script blocks (microsoft/terminal issue 18975).
        $NewTabs = foreach ($Shell in $Shells) { 'new-tab powershell {0}' -f $Shell }
        Start-Process -FilePath wt -ArgumentList ('-w aivt {0}' -f ($NewTabs -join ' ; '))
    }
    else {
        foreach ($Shell in $Shells) { Start-Process -FilePath powershell -ArgumentList $Shell }
    }
    exit 0
}

$Arguments = @('up')
if ($Rehearsal) { $Arguments += '--rehearsal' }
if ($NoBrowser) { $Arguments += '--no-browser' }
if ($LeftOut) { $Arguments += '--without', ($LeftOut -join ',') }
& (Join-Path $PSScriptRoot 'aivt.ps1') -Arguments $Arguments
exit $LASTEXITCODE
