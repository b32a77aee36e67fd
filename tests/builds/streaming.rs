//! What the compiler says reaches Cargo when it says it: Cargo starts the next units when it reads
//! that a crate's metadata is there, long before the crate is done.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::support::{TestSpace, open_for_reader, succeed};

/// Runs a compiler that says a line on one of its streams and goes on only when the pipe `gate` has
/// been opened and closed; checks that the line is there before that.
#[track_caller]
fn check_streamed(stream: &str) {
    let mut space = TestSpace::new();
    space.write("p/src/lib.rs", "");
    let gate = space.path("p/gate");
    succeed(std::process::Command::new("mkfifo").arg(&gate));
    let redirect = if stream == "stderr" { ">&2" } else { "" };
    space.script_compiler(&format!(
        "echo '{{\"$message_type\":\"artifact\",\"artifact\":\"p/libp.rmeta\",\"emit\":\"metadata\"}}' {redirect}\n\
         read unused < {}\n\
         echo > libp.rmeta\necho > libp.rlib\n",
        gate.display()
    ));
    let run = space.rustc(
        "p",
        [
            "--crate-name",
            "p",
            "src/lib.rs",
            "--error-format=json",
            "--json=artifacts",
            "--crate-type",
            "lib",
            "--emit=metadata,link",
            "--out-dir",
            ".",
        ],
    );
    let mut command = run.command();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("kache can be started");
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let line = std::thread::spawn(move || {
        let mut line = String::new();
        // The other stream stays open here, so that nothing fails to be written.
        if redirect.is_empty() {
            let read = BufReader::new(output.expect("a pipe")).read_line(&mut line);
            read.map(|_| line)
        } else {
            let read = BufReader::new(errors.expect("a pipe")).read_line(&mut line);
            read.map(|_| line)
        }
    });
    // Nobody opens the gate before the line has come: a wrapper that held it back would wait for
    // ever, were it not for the bound below.
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(line.join().expect("the reader ends")));
    let came = receiver.recv_timeout(std::time::Duration::from_secs(20));
    drop(open_for_reader(&gate));
    assert!(child.wait().expect("kache ends").success());
    let line = came.expect("the line came while the compiler ran").expect("a line can be read");
    assert!(line.contains("libp.rmeta"), "{line}");
}

#[test]
fn the_notice_of_metadata_comes_before_the_compiler_ends() {
    check_streamed("stderr");
}

#[test]
fn standard_output_comes_before_the_compiler_ends() {
    check_streamed("stdout");
}
