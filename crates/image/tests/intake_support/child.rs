//! The smallest program that can be an intake child, for the tests.
//!
//! With `__attempt WHAT PARENT` it puts up the same walls and tries to get out.

use rustix::fd::AsFd;
use stampo_image::intake::{DeclaredFormat, Job, Limits, enter_sandbox, run_child_if_asked};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

fn main() {
    run_child_if_asked();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [mode, what, parent] = args.as_slice() else {
        usage()
    };
    if mode != "__attempt" {
        usage();
    }
    let Ok(parent_pid) = parent.parse() else {
        usage()
    };
    let job = Job {
        declared: DeclaredFormat::Raw,
        limits: Limits::default(),
        workers: 0,
        parent_pid,
    };
    let what = what.clone();
    let early = what == "open_in_early_thread";
    match enter_sandbox(&job, || early.then(early_thread)) {
        Ok((_, go)) => {
            if let Some((go, thread)) = go {
                let _ = go.send(());
                let _ = thread.join();
            }
        }
        Err(fault) => {
            eprintln!("{fault}");
            std::process::exit(1);
        }
    }
    std::process::exit(i32::from(!try_it(&what)));
}

/// A thread from before the filter that opens a file when it is told to.
fn early_thread() -> (Sender<()>, JoinHandle<()>) {
    let ((go, told), (here, ready)) = (channel(), channel());
    let thread = std::thread::spawn(move || {
        let _ = here.send(());
        let _ = told.recv();
        try_it("open");
    });
    let _ = ready.recv();
    (go, thread)
}

fn usage() -> ! {
    eprintln!("this program only runs as an intake child, in tests");
    std::process::exit(2);
}

/// Whether it was possible. What is forbidden ends the process instead.
fn try_it(what: &str) -> bool {
    match what {
        "open" => std::fs::File::open("/etc/hostname").is_ok(),
        "create" => std::fs::File::create("/tmp/stampo-intake-escaped").is_ok(),
        "connect" => TcpStream::connect("127.0.0.1:9").is_ok(),
        "listen" => TcpListener::bind("127.0.0.1:0").is_ok(),
        "spawn" => Command::new("/bin/true").spawn().is_ok(),
        "signal_group" => {
            rustix::process::kill_current_process_group(rustix::process::Signal::CONT).is_ok()
        }
        "thread" => std::thread::Builder::new().spawn(|| ()).is_ok(),
        "signal_init" => rustix::process::test_kill_process(rustix::process::Pid::INIT).is_ok(),
        "other_call" => rustix::process::getpgid(None).is_ok(),
        "read_destination" => rustix::io::pread(std::io::stdout().as_fd(), &mut [0; 4], 0).is_ok(),
        "sync" => rustix::fs::fsync(std::io::stdout().as_fd()).is_ok(),
        "write_source" => rustix::io::pwrite(std::io::stdin().as_fd(), b"x", 0).is_ok(),
        "work" => work(),
        _ => false,
    }
}

/// What the parser does: waiting, memory, the source, the destination, the pipe.
fn work() -> bool {
    // Channels do this under contention, which no test can count on.
    std::thread::yield_now();
    let mut text = vec![0; 64 << 20];
    let Ok(count) = rustix::io::pread(std::io::stdin().as_fd(), &mut text[..10], 0) else {
        return false;
    };
    let stdout = std::io::stdout();
    let written = rustix::io::pwrite(stdout.as_fd(), &text[..count], 4096).is_ok();
    written && std::io::stderr().write_all(&text[..count]).is_ok()
}
