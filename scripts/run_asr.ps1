<#
.SYNOPSIS
Runs the ASR worker, which hears, in the foreground.

.DESCRIPTION
Sets AIVT up first if needed. Ctrl+C stops it. run_all.ps1 starts the whole show.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File scripts\run_tts.ps1
#>
[CmdletBinding()]
param()

Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'

& (Join-Path $PSScriptRoot 'aivt.ps1') -Arguments @('run', 'asr')
exit $LASTEXITCODE
