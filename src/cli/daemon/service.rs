//! The daemon as a service of the user: a unit of systemd, or an agent of launchd.

use crate::cli::UsageError;
use crate::cli::output::Console;
use crate::{env, fs};
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name under which the Nix module knows the agent as well.
const LABEL: &str = "ninja.kunobi.kache";
const UNIT: &str = "kache.service";
/// What the service logs unless the variable says something else.
const LOG: &str = "kache=info";

/// What makes the service: its file, and the commands that tell the system.
#[derive(Debug)]
struct Service {
    file: PathBuf,
    text: String,
    begin: Vec<Vec<String>>,
    end: Vec<Vec<String>>,
    /// After the file is gone.
    forget: Vec<Vec<String>>,
}

pub(crate) fn install(console: &Console) -> Result<()> {
    let service = Service::of_this_system()?;
    if let Some(directory) = service.file.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("create {}", directory.display()))?;
    }
    fs::write_new(&service.file, service.text.as_bytes(), 0o644)?;
    for command in &service.begin {
        if let Err(error) = tell(command) {
            // It would be taken for a service that runs.
            fs::remove_if_present(&service.file)?;
            return Err(
                error.context("no service is made (a build starts a daemon where there is none)")
            );
        }
    }
    console.note(&format!("wrote {}", service.file.display()));
    console.note("the daemon runs as a service");
    Ok(())
}

pub(crate) fn uninstall(console: &Console) -> Result<()> {
    let service = Service::of_this_system()?;
    if !service.file.exists() {
        console.note("no service is installed");
        return Ok(());
    }
    for command in &service.end {
        if let Err(error) = tell(command) {
            // The file goes in any case.
            console.warning(&format!("{error:#}"));
        }
    }
    fs::remove_if_present(&service.file)?;
    console.note(&format!("removed {}", service.file.display()));
    for command in &service.forget {
        tell(command)?;
    }
    Ok(())
}

/// Whether the service's file is there.
pub(crate) fn is_installed() -> bool {
    Service::of_this_system().is_ok_and(|service| service.file.exists())
}

fn tell(command: &[String]) -> Result<()> {
    let (program, arguments) = command.split_first().context("a command has a name")?;
    let shown = command.join(" ");
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("run `{shown}`"))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed: {}", told.trim());
    }
    Ok(())
}

fn words(commands: &[&str]) -> Vec<Vec<String>> {
    commands.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

impl Service {
    fn of_this_system() -> Result<Self> {
        let program = std::env::current_exe().context("find the path of this executable")?;
        let home = env::home().ok_or_else(|| UsageError::new("there is no home directory"))?;
        let variables = variables();
        if cfg!(target_os = "macos") {
            return Ok(Self::launchd(&home, &program, &variables));
        }
        let base = env::value(env::XDG_CONFIG_HOME).map(PathBuf::from);
        let base = base.filter(|path| path.is_absolute()).unwrap_or_else(|| home.join(".config"));
        Ok(Self::systemd(&base, &program, &variables))
    }

    fn systemd(base: &Path, program: &Path, variables: &[(&str, String)]) -> Self {
        Self {
            file: base.join("systemd/user").join(UNIT),
            text: systemd_unit(program, variables),
            begin: words(&[
                "systemctl --user daemon-reload",
                "systemctl --user enable --now kache.service",
            ]),
            end: words(&["systemctl --user disable --now kache.service"]),
            forget: words(&["systemctl --user daemon-reload"]),
        }
    }

    fn launchd(home: &Path, program: &Path, variables: &[(&str, String)]) -> Self {
        let file = home.join("Library/LaunchAgents").join(format!("{LABEL}.plist"));
        let domain = format!("gui/{}", rustix::process::getuid().as_raw());
        let mut bootstrap = words(&["launchctl bootstrap"]).remove(0);
        bootstrap.extend([domain.clone(), file.display().to_string()]);
        Self {
            text: launchd_agent(program, variables),
            begin: vec![bootstrap],
            end: words(&[&format!("launchctl bootout {domain}/{LABEL}")]),
            forget: Vec::new(),
            file,
        }
    }
}

/// What of this environment the service keeps. Credentials are for the files that their owners keep
/// them in.
fn variables() -> Vec<(&'static str, String)> {
    let kept = [env::CONFIG, env::CACHE_DIR, env::SOCKET_PATH];
    let value = |name: &'static str| Some((name, env::value(name)?.into_string().ok()?));
    let mut variables: Vec<_> = kept.into_iter().filter_map(value).collect();
    variables.push((env::LOG, value(env::LOG).map_or(LOG.to_owned(), |(_, value)| value)));
    variables
}

fn systemd_unit(program: &Path, variables: &[(&str, String)]) -> String {
    let mut text = String::from(
        "[Unit]\nDescription=kache build cache daemon\n\n[Service]\nType=simple\nRestart=on-failure\n\
         RestartSec=5\n",
    );
    for (name, value) in variables {
        // Into a String nothing can fail.
        writeln!(text, "Environment={}", systemd_word(&format!("{name}={value}"))).ok();
    }
    let program = systemd_word(&program.display().to_string());
    writeln!(text, "ExecStart={program} daemon run\n\n[Install]\nWantedBy=default.target").ok();
    text
}

/// A word that systemd reads as it is.
fn systemd_word(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{}\"", escaped.replace('$', "$$"))
}

fn launchd_agent(program: &Path, variables: &[(&str, String)]) -> String {
    let mut environment = String::new();
    for (name, value) in variables {
        writeln!(environment, "    <key>{name}</key><string>{}</string>", xml(value)).ok();
    }
    let program = xml(&program.display().to_string());
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key><string>{LABEL}</string>
  <key>ProgramArguments</key>
  <array><string>{program}</string><string>daemon</string><string>run</string></array>
  <key>EnvironmentVariables</key>
  <dict>
{environment}  </dict>
  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>
  <key>ThrottleInterval</key><integer>5</integer>
</dict>
</plist>
"#
    )
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_reach_the_service_as_they_are() {
        let program = Path::new("/opt/a \"b\" & 50%/kache");
        let variables = [("KACHE_CONFIG", "/etc/<x>".to_owned())];
        let unit = Service::systemd(Path::new("/home/u/.config"), program, &variables);
        assert_eq!(unit.file, Path::new("/home/u/.config/systemd/user/kache.service"));
        let start = "ExecStart=\"/opt/a \\\"b\\\" & 50%%/kache\" daemon run\n";
        assert!(unit.text.contains(start), "{}", unit.text);
        assert!(unit.text.contains("Environment=\"KACHE_CONFIG=/etc/<x>\"\n"), "{}", unit.text);
        let agent = Service::launchd(Path::new("/Users/u"), program, &variables);
        assert!(agent.text.contains("<string>/opt/a \"b\" &amp; 50%/kache</string>"));
        assert!(agent.text.contains("<string>/etc/&lt;x&gt;</string>"), "{}", agent.text);
    }
}
