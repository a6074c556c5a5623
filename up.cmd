@echo off
rem Starts AIVT by a double-click; arguments go to run_all.ps1 (up.cmd -Rehearsal).
setlocal
powershell -NoProfile -ExecutionPolicy Bypass -File "%~dp0scripts\run_all.ps1" %*
set EXIT_CODE=%ERRORLEVEL%
rem Keep the window open, so that the reason can be read.
if not "%EXIT_CODE%"=="0" pause
exit /b %EXIT_CODE%
