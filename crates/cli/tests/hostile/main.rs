//! Hostile disks through the real commands, each watched by strace: import, inspect, seal, publish,
//! clone with personalisation, passport.
//!
//! Each ends as its row says: refused with its reason, or handled right. No command opens a file
//! outside of its home but those of an explicit list, no process lives for more than 5 s or takes
//! more than 256 MiB, nothing that a terminal obeys is printed, and nothing is left behind. The
//! images that the intake refuses are proven in the image room, by `intake_evil`.

mod allowed;
mod cases;
mod chain;
mod crowd;
mod tree;
mod watch;

use chain::Lab;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Cases are taken by this many threads at a time, each with a home of its own.
const LABS: usize = 2;

#[test]
fn there_are_at_least_sixty_of_them_with_distinct_names() {
    let cases = cases::all();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    assert!(cases.len() > 60, "only {}", cases.len());
}

/// The inner half of every watched command; see `watch.rs`.
#[test]
fn measured() {
    watch::measure_if_asked();
}

#[test]
fn every_hostile_disk_ends_as_it_should() {
    let only = std::env::var("STAMPO_CASE").unwrap_or_default();
    let mut cases = cases::all();
    cases.retain(|case| case.name.contains(&only));
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..LABS {
            scope.spawn(|| {
                let mut lab = Lab::new();
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let found = catch_unwind(AssertUnwindSafe(|| lab.take(case)));
                    let found = found.unwrap_or_else(|_| vec!["the test itself failed".into()]);
                    eprintln!("{}: {:?} {found:#?}", case.name, start.elapsed());
                    let found = found
                        .into_iter()
                        .map(|what| format!("{}: {what}", case.name));
                    wrong.lock().expect("no thread panicked").extend(found);
                }
                eprintln!(
                    "largest process {} KiB, longest life {:?}",
                    lab.peak_kib, lab.life
                );
            });
        }
    });
    let wrong = wrong.into_inner().expect("no thread panicked");
    assert!(
        wrong.is_empty(),
        "{} complaints:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What the watch says of a shell command that does what must not be done.
fn complaints(script: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let shell = Path::new("/bin/sh");
    let allowed = allowed::Allowed::new(dir.path(), shell);
    watch::run(dir.path(), shell, &["-c", script], &allowed)
        .complaints()
        .join("\n")
}

#[test]
fn the_watch_sees_what_must_not_be() {
    assert_eq!(complaints("echo good > here; exec 3< here"), "");
    assert!(complaints("exec 3< /etc/hostname").contains("/etc/hostname"));
    assert!(complaints("ln -s /etc/hostname l; exec 3< l").contains("/etc/hostname"));
    assert!(
        complaints("echo x > /tmp/../tmp/stampo-not-allowed; rm /tmp/stampo-not-allowed")
            .contains("O_WRONLY")
    );
    assert!(complaints("printf '\\033]0;x\\007'").contains("a terminal would obey"));
    assert!(complaints("printf '\\302\\233'").contains("a terminal would obey"));
    assert!(complaints(&format!("sleep {}", watch::too_long())).contains("lived for"));
    assert!(
        complaints("head -c 300000000 /dev/zero | tail -c 300000000 > /dev/null").contains("took")
    );
    assert!(complaints("kill -SEGV $$").contains("crashed"));
}
