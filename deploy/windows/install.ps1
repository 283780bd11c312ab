<#
Runs DataUploader on a Windows workstation, from the start of the machine, without anybody signed in: one scheduled task
for watcher and transfer. No further program is needed. To be run as administrator; run again to update; -Remove removes.

    powershell -ExecutionPolicy Bypass -File install.ps1 -Python C:\DataUploader\venv\Scripts\python.exe
#>
param(
    [string]$Python = "C:\DataUploader\venv\Scripts\python.exe",
    [string]$Config = "$env:ProgramData\DataUploader\datauploader.toml",
    [string]$State = "$env:ProgramData\DataUploader\state",
    [string]$TaskName = "DataUploader",
    [switch]$Remove
)
$ErrorActionPreference = "Stop"

if ($Remove) {
    Stop-ScheduledTask -TaskName $TaskName -ErrorAction SilentlyContinue
    Unregister-ScheduledTask -TaskName $TaskName -Confirm:$false
    Write-Output "The task $TaskName is removed; $Config and $State are still there."
    return
}

foreach ($file in $Python, $Config) {
    if (-not (Test-Path -PathType Leaf $file)) { throw "$file is missing; deploy\windows\README.md says how to make it." }
}
$program = Join-Path (Split-Path $Python) "datauploader.exe"
if (-not (Test-Path $program)) { throw "$program is missing: install watcher and transfer into this Python first." }
New-Item -ItemType Directory -Force $State | Out-Null

# The configuration holds the broker's password: LOCAL SERVICE reads it, administrators and SYSTEM change it, nobody else.
# The groups are named by their SIDs, because their names differ from language to language.
icacls $Config /inheritance:r /grant:r "*S-1-5-32-544:F" "*S-1-5-18:F" "*S-1-5-19:R" | Out-Null
icacls $State /inheritance:r /grant:r "*S-1-5-32-544:(OI)(CI)F" "*S-1-5-18:(OI)(CI)F" "*S-1-5-19:(OI)(CI)M" | Out-Null

$log = Join-Path $State "datauploader.log"
$command = "set DATAUPLOADER_CONFIG=$Config&& set DATAUPLOADER_STATE_DIR=$State&& `"$program`" run watcher transfer >> `"$log`" 2>&1"
$action = New-ScheduledTaskAction -Execute "$env:SystemRoot\System32\cmd.exe" -Argument "/d /s /c `"$command`""
$trigger = New-ScheduledTaskTrigger -AtStartup
$principal = New-ScheduledTaskPrincipal -UserId "S-1-5-19" -LogonType ServiceAccount -RunLevel Limited
$settings = New-ScheduledTaskSettingsSet -ExecutionTimeLimit ([TimeSpan]::Zero) -RestartCount 999 `
    -RestartInterval (New-TimeSpan -Minutes 1) -MultipleInstances IgnoreNew -StartWhenAvailable `
    -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries -Priority 7

Register-ScheduledTask -TaskName $TaskName -Action $action -Trigger $trigger -Principal $principal -Settings $settings `
    -Description "Uploads what the instrument writes to the facility's storage." -Force | Out-Null
Start-ScheduledTask -TaskName $TaskName
Write-Output "The task $TaskName runs and starts with the machine; its log is $log."
