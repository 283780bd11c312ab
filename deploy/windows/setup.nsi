; The installer for Windows. Made by ./dev windows-installer, which gives VERSION (a.b.c.d), OUT, ICON, and files.nsh:
; the two lists of files, in an order that is always the same.
;
; Without a word on the command line it asks. Silent: /S for one person; /S /SERVICE [/CONFIG=FILE] for a station.

Unicode true
Target amd64-unicode
!ifdef QUICK
  SetCompressor zlib
!else
  SetCompressor /SOLID lzma
!endif
SetDateSave off

!include LogicLib.nsh
!include FileFunc.nsh
!include nsDialogs.nsh
!include "${FILES}"

!define NAME "DataUploader"
!define UNINSTALL "Software\Microsoft\Windows\CurrentVersion\Uninstall\${NAME}"
!define EVENTS "SYSTEM\CurrentControlSet\Services\EventLog\Application\${NAME}"
; only administrators can write it: says that the folder of configuration and state is the one that we have made
!define OURS "Software\${NAME}"

Name "${NAME}"
OutFile "${OUT}"
Icon "${ICON}"
UninstallIcon "${ICON}"
BrandingText "${NAME}"
CompletedText "$Done"
RequestExecutionLevel highest
ShowInstDetails nevershow
ShowUninstDetails nevershow
VIProductVersion "${VERSION}"
VIAddVersionKey "ProductName" "${NAME}"
VIAddVersionKey "FileDescription" "Uploads measured data to the facility's storage and catalogue"
VIAddVersionKey "CompanyName" "CERIC-ERIC"
VIAddVersionKey "LegalCopyright" "BSD-3-Clause"
VIAddVersionKey "FileVersion" "${VERSION}"
VIAddVersionKey "ProductVersion" "${VERSION}"

Var Station      ; "1": for the whole computer, as a service; "": for one person
Var Config       ; the station's configuration, to be copied; "": there is one, or it comes later
Var Autostart    ; "1": the desktop starts when its person signs in
Var AsStation
Var AsPerson
Var AutostartBox
Var ConfigBox
Var ConfigButton
Var Code
Var Refused
Var Done         ; what the last page says

Page custom AskFor TakeAnswer
Page instfiles
UninstPage uninstConfirm
UninstPage instfiles

; Sets the places of the chosen kind.
!macro Places
  SetRegView 64
  ${If} $Station == "1"
    SetShellVarContext all
    StrCpy $INSTDIR "$PROGRAMFILES64\${NAME}"
  ${Else}
    SetShellVarContext current
    StrCpy $INSTDIR "$LOCALAPPDATA\Programs\${NAME}"
  ${EndIf}
!macroend

; Sets $Code to "1" where a program of the folder runs: Windows lets nobody write to a file that is executed.
!macro Probe PROGRAM
  ${If} ${FileExists} "$INSTDIR\python\${PROGRAM}"
    ClearErrors
    FileOpen $R0 "$INSTDIR\python\${PROGRAM}" a
    ${If} ${Errors}
      StrCpy $Code "1"
    ${Else}
      FileClose $R0
    ${EndIf}
  ${EndIf}
!macroend

; Ends whatever runs from the folder, and waits a minute until it has; leaves "0" in $Code when nothing runs any more.
; No Python is started for it: that took longer than all else of a removal, and one that is broken could not be replaced.
!macro EndWhatRuns
  ${For} $R1 1 120
    StrCpy $Code "0"
    !insertmacro Probe "python.exe"
    !insertmacro Probe "pythonw.exe"
    !insertmacro Probe "rclone.exe"
    ${If} $Code == "0"
      ${Break}
    ${EndIf}
    ${If} $R1 == 1
      DetailPrint "Waiting until ${NAME} has ended"
    ${EndIf}
    ; asked again each time: what is just starting takes no word yet
    ${If} $Station == "1"
      nsExec::Exec 'sc.exe stop ${NAME}'
      Pop $R0
    ${ElseIf} ${FileExists} "$LOCALAPPDATA\${NAME}\*.*"
      FileOpen $R0 "$LOCALAPPDATA\${NAME}\quit" w ; the desktop ends where this file is (place.py)
      FileClose $R0
    ${EndIf}
    Sleep 500
  ${Next}
  ${If} $Station != "1"
    Delete "$LOCALAPPDATA\${NAME}\quit"
  ${EndIf}
!macroend

Function .onInit
  ${GetParameters} $R0
  ClearErrors
  ${GetOptions} $R0 "/SERVICE" $R1
  ${IfNot} ${Errors}
    StrCpy $Station "1"
  ${EndIf}
  ClearErrors
  ${GetOptions} $R0 "/AUTOSTART" $R1
  ${IfNot} ${Errors}
    StrCpy $Autostart "1"
  ${EndIf}
  ClearErrors
  ${GetOptions} $R0 "/CONFIG=" $Config
  ${If} ${Silent}
    Call Check
    ${If} $Refused == "1"
      Quit
    ${EndIf}
  ${EndIf}
FunctionEnd

; Refuses what cannot be done here, with its reason: $Refused is "1" then.
Function Check
  StrCpy $Refused ""
  SetErrorLevel 0
  !insertmacro Places
  ${If} $Station == "1"
    UserInfo::GetAccountType
    Pop $R0
    ${If} $R0 != "Admin"
      MessageBox MB_OK|MB_ICONSTOP "A station is installed by an administrator. Start this again with $\"Run as administrator$\", or install it for yourself." /SD IDOK
      SetErrorLevel 740
      StrCpy $Refused "1"
      Return
    ${EndIf}
    ; anybody may make a folder there, keep the right to change it, and lay a configuration into it
    ReadRegStr $R0 HKLM "${OURS}" "Folder"
    ${If} $R0 != "$APPDATA\${NAME}"
    ${AndIf} ${FileExists} "$APPDATA\${NAME}\*.*"
      MessageBox MB_OK|MB_ICONSTOP "There is a folder $APPDATA\${NAME} that no DataUploader has made, and others may be able to change what lies in it. Move it away, then start this again; give the station's configuration with /CONFIG= or in the window." /SD IDOK
      SetErrorLevel 6
      StrCpy $Refused "1"
      Return
    ${EndIf}
  ${EndIf}
  ${If} $Config != ""
  ${AndIfNot} ${FileExists} "$Config"
    MessageBox MB_OK|MB_ICONSTOP "There is no file $Config. Give the station's configuration with /CONFIG=, or leave it out and put it into $APPDATA\${NAME} when this has ended." /SD IDOK
    SetErrorLevel 2
    StrCpy $Refused "1"
  ${EndIf}
FunctionEnd

Function AskFor
  nsDialogs::Create 1018
  Pop $R0
  ${NSD_CreateRadioButton} 0 0u 100% 12u "For me: choose files and upload them in the browser"
  Pop $AsPerson
  ${NSD_CreateCheckBox} 12u 16u 90% 12u "Start it when I sign in to Windows"
  Pop $AutostartBox
  ${NSD_CreateRadioButton} 0 40u 100% 12u "As a station: it runs from the start of this computer, for everybody"
  Pop $AsStation
  ${NSD_CreateLabel} 12u 56u 90% 20u "The station's configuration, as the facility has made it (datauploader.toml). Leave it empty if it is here already."
  Pop $R0
  ${NSD_CreateFileRequest} 12u 78u 70% 12u "$Config"
  Pop $ConfigBox
  ${NSD_CreateBrowseButton} 84% 78u 16% 12u "Browse..."
  Pop $ConfigButton
  ${NSD_OnClick} $ConfigButton Browse
  ${If} $Station == "1"
    ${NSD_Check} $AsStation
  ${Else}
    ${NSD_Check} $AsPerson
  ${EndIf}
  nsDialogs::Show
FunctionEnd

Function Browse
  nsDialogs::SelectFileDialog open "" "Configuration (*.toml)|*.toml"
  Pop $R0
  ${NSD_SetText} $ConfigBox "$R0"
FunctionEnd

Function TakeAnswer
  ${NSD_GetState} $AsStation $R0
  ${If} $R0 == ${BST_CHECKED}
    StrCpy $Station "1"
    ${NSD_GetText} $ConfigBox $Config
  ${Else}
    StrCpy $Station ""
    StrCpy $Config ""
  ${EndIf}
  StrCpy $Autostart ""
  ${NSD_GetState} $AutostartBox $R0
  ${If} $R0 == ${BST_CHECKED}
    StrCpy $Autostart "1"
  ${EndIf}
  Call Check
  ${If} $Refused == "1"
    Abort ; stays on this page, so that it can be put right
  ${EndIf}
FunctionEnd

Section
  !insertmacro Places
  !insertmacro EndWhatRuns
  ${If} $Code != "0"
    MessageBox MB_OK|MB_ICONSTOP "The DataUploader that runs here has not ended, so its files cannot be replaced. End it, then start this again." /SD IDOK
    SetErrorLevel 3
    Abort
  ${EndIf}
  RMDir /r "$INSTDIR\python"
  !insertmacro PutFiles
  ; Program Files cannot be written to later, so Python would read its sources anew at each start
  nsExec::Exec '"$INSTDIR\python\python.exe" -m compileall -q -j 0 "$INSTDIR\python\Lib\site-packages"'
  Pop $R0
  SetOutPath "$INSTDIR"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  WriteRegStr SHCTX "${UNINSTALL}" "DisplayName" "${NAME}"
  WriteRegStr SHCTX "${UNINSTALL}" "DisplayVersion" "${VERSION}"
  WriteRegStr SHCTX "${UNINSTALL}" "Publisher" "CERIC-ERIC"
  WriteRegStr SHCTX "${UNINSTALL}" "DisplayIcon" "$INSTDIR\datauploader.ico"
  WriteRegStr SHCTX "${UNINSTALL}" "InstallLocation" "$INSTDIR"
  WriteRegStr SHCTX "${UNINSTALL}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr SHCTX "${UNINSTALL}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD SHCTX "${UNINSTALL}" "NoModify" 1
  WriteRegDWORD SHCTX "${UNINSTALL}" "NoRepair" 1
  ${If} $Station == "1"
    Call Serve
  ${Else}
    Call Offer
  ${EndIf}
SectionEnd

; The desktop's entries in the start menu.
Function Offer
  StrCpy $Done "Installed. ${NAME} is in the start menu."
  CreateDirectory "$SMPROGRAMS\${NAME}"
  CreateShortCut "$SMPROGRAMS\${NAME}\${NAME}.lnk" "$INSTDIR\python\pythonw.exe" "-m datauploader desktop" "$INSTDIR\datauploader.ico"
  CreateShortCut "$SMPROGRAMS\${NAME}\End ${NAME}.lnk" "$INSTDIR\python\pythonw.exe" "-m datauploader desktop --quit" "$INSTDIR\datauploader.ico"
  ${If} $Autostart == "1"
    CreateShortCut "$SMSTARTUP\${NAME}.lnk" "$INSTDIR\python\pythonw.exe" "-m datauploader desktop --no-browser" "$INSTDIR\datauploader.ico"
  ${EndIf}
FunctionEnd

; The station's service. LOCAL SERVICE is S-1-5-19, SYSTEM S-1-5-18, administrators S-1-5-32-544, in every language.
Function Serve
  StrCpy $Done "The files are installed. The service does not run."
  CreateDirectory "$APPDATA\${NAME}"
  WriteRegStr HKLM "${OURS}" "Folder" "$APPDATA\${NAME}"
  CreateDirectory "$APPDATA\${NAME}\state"
  CreateDirectory "$APPDATA\${NAME}\log"
  ; the configuration holds the broker's password: closed to all others before it is written
  nsExec::Exec 'icacls.exe "$APPDATA\${NAME}" /setowner *S-1-5-32-544'
  Pop $R0
  nsExec::Exec 'icacls.exe "$APPDATA\${NAME}" /inheritance:r /grant:r *S-1-5-32-544:(OI)(CI)F *S-1-5-18:(OI)(CI)F *S-1-5-19:(OI)(CI)RX'
  Pop $R1
  nsExec::Exec 'icacls.exe "$APPDATA\${NAME}\state" /grant:r *S-1-5-19:(OI)(CI)M'
  Pop $R2
  nsExec::Exec 'icacls.exe "$APPDATA\${NAME}\log" /grant:r *S-1-5-19:(OI)(CI)M'
  Pop $R3
  ${If} "$R0$R1$R2$R3" != "0000"
    MessageBox MB_OK|MB_ICONSTOP "The folder $APPDATA\${NAME} could not be closed to other people (icacls said $R0, $R1, $R2, $R3), so the configuration was not copied and there is no service." /SD IDOK
    SetErrorLevel 6
    Return
  ${EndIf}
  ${If} $Config != ""
    CopyFiles /SILENT "$Config" "$APPDATA\${NAME}\datauploader.toml"
  ${EndIf}
  ; the command line, with the places of the service
  FileOpen $R3 "$INSTDIR\datauploader.cmd" w
  FileWrite $R3 "@echo off$\r$\n"
  FileWrite $R3 "set DATAUPLOADER_CONFIG=$APPDATA\${NAME}\datauploader.toml$\r$\n"
  FileWrite $R3 "set DATAUPLOADER_STATE_DIR=$APPDATA\${NAME}\state$\r$\n"
  FileWrite $R3 "set DATAUPLOADER_LOG_FILE=$APPDATA\${NAME}\log\datauploader.log$\r$\n"
  FileWrite $R3 '"%~dp0python\python.exe" -m datauploader %*$\r$\n'
  FileClose $R3
  WriteRegExpandStr HKLM "${EVENTS}" "EventMessageFile" "%SystemRoot%\System32\EventCreate.exe"
  WriteRegDWORD HKLM "${EVENTS}" "TypesSupported" 7
  StrCpy $R1 '\"$INSTDIR\python\python.exe\" -m datauploader.winservice --config \"$APPDATA\${NAME}\datauploader.toml\"'
  ; one that is there keeps the account that the administrator has given it
  nsExec::Exec 'sc.exe config ${NAME} binPath= "$R1" start= auto'
  Pop $R0
  ${If} $R0 != "0"
    nsExec::Exec 'sc.exe delete ${NAME}'
    Pop $R0
    nsExec::Exec 'sc.exe create ${NAME} binPath= "$R1" start= auto obj= "NT AUTHORITY\LocalService" DisplayName= "${NAME}"'
    Pop $R0
  ${EndIf}
  ${If} $R0 != "0"
    MessageBox MB_OK|MB_ICONSTOP "Windows has not taken the service: sc.exe said $R0. The files are installed." /SD IDOK
    SetErrorLevel 4
    Return
  ${EndIf}
  nsExec::Exec 'sc.exe description ${NAME} "Uploads what the instrument writes to the facility and tells its catalogue."'
  Pop $R0
  nsExec::Exec 'sc.exe failure ${NAME} reset= 86400 actions= restart/60000/restart/60000/restart/60000'
  Pop $R0
  nsExec::Exec 'sc.exe failureflag ${NAME} 1'
  Pop $R0
  ${If} ${FileExists} "$APPDATA\${NAME}\datauploader.toml"
    nsExec::Exec 'sc.exe start ${NAME}'
    Pop $R0
    ${If} $R0 == "0"
      StrCpy $Done "Installed. The service ${NAME} was started."
    ${Else}
      MessageBox MB_OK|MB_ICONSTOP "The service is installed and does not start: sc.exe said $R0. The event log and $APPDATA\${NAME}\log say why." /SD IDOK
      SetErrorLevel 5
    ${EndIf}
  ${Else}
    MessageBox MB_OK|MB_ICONINFORMATION "Put the station's configuration into $APPDATA\${NAME}\datauploader.toml, then start the service ${NAME}." /SD IDOK
  ${EndIf}
FunctionEnd

Function un.onInit
  ; where it lies says what it is
  SetRegView 64
  StrCpy $Station ""
  ReadRegStr $R0 HKLM "${UNINSTALL}" "InstallLocation"
  ${If} $R0 == $INSTDIR
    StrCpy $Station "1"
  ${EndIf}
FunctionEnd

Section Uninstall
  !insertmacro Places
  !insertmacro EndWhatRuns
  ${If} $Code != "0"
    MessageBox MB_OK|MB_ICONSTOP "The DataUploader that runs here has not ended. End it, then start this again." /SD IDOK
    SetErrorLevel 3
    Abort
  ${EndIf}
  ${If} $Station == "1"
    nsExec::Exec 'sc.exe delete ${NAME}'
    Pop $R0
    DeleteRegKey HKLM "${EVENTS}"
    StrCpy $R1 "$APPDATA\${NAME}"
  ${Else}
    StrCpy $R1 "$LOCALAPPDATA\${NAME}"
  ${EndIf}
  StrCpy $Done "Removed."
  RMDir /r "$INSTDIR\python"
  Delete "$INSTDIR\datauploader.ico"
  Delete "$INSTDIR\datauploader.cmd"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
  RMDir /r "$SMPROGRAMS\${NAME}"
  Delete "$SMSTARTUP\${NAME}.lnk"
  DeleteRegKey SHCTX "${UNINSTALL}"
  ${If} ${FileExists} "$R1\*.*"
    ${GetParameters} $R0
    ClearErrors
    ${GetOptions} $R0 "/STATE" $R2
    ${IfNot} ${Errors}
      Call un.Forget
    ${ElseIf} ${Cmd} `MessageBox MB_YESNO|MB_ICONQUESTION|MB_DEFBUTTON2 "Also remove configuration, logs and what it remembers of uploads ($R1)? An upload that is not complete could not go on then." /SD IDNO IDYES`
      Call un.Forget
    ${EndIf}
  ${EndIf}
SectionEnd

; Removes configuration, logs and state, which lie in $R1.
Function un.Forget
  RMDir /r "$R1"
  ${If} $Station == "1"
    DeleteRegKey HKLM "${OURS}"
  ${EndIf}
FunctionEnd
