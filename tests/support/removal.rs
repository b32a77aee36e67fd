//! Removing what a static holds, which nobody drops.

use std::path::Path;
use std::process::{Command, Stdio};

/// Has a directory removed when this process ends, however it ends.
#[expect(clippy::zombie_processes, reason = "it ends after this process")]
pub(crate) fn remove_with_process(directory: &Path) {
    if std::env::var_os("KACHE_TEST_KEEP").is_some() {
        return;
    }
    let mut command = Command::new("sh");
    command.args(["-c", "read line; chmod -R u+rwx \"$1\"; rm -rf \"$1\"", "sh"]).arg(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let remover = command.spawn().expect("a shell can be started");
    // The kernel closes this end with the process.
    std::mem::forget(remover.stdin);
}
