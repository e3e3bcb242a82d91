//! A home that is removed under its pool: the members are processes that nobody could find again, and
//! what tends the pool ends them and itself, whether it sleeps at that moment or makes them.
//!
//! Called by `frozen.rs` as the last part: everything else in the home has ended.

use stampo_testbed::Stampo;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the processes of a home may outlive it.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a pool may take to get its members, and a home to go.
const PATIENCE: Duration = Duration::from_secs(120);

/// Everything; the version is called `web`, and there are no guests. The home is as it was afterwards.
pub(crate) fn its_processes_go_with_it(stampo: &Stampo) {
    let begun = Instant::now();
    let spares = ["spare-1", "spare-2"].map(|name| spare(stampo, name));
    while_its_tender_sleeps(stampo);
    std::fs::rename(&spares[0], stampo.home()).expect("back again");
    while_its_tender_works(stampo);
    std::fs::rename(&spares[1], stampo.home()).expect("back again");
    eprintln!("removed homes: {:?} in all", begun.elapsed());
}

/// A copy of the home, to be moved to its place: what is made in a home names the images by their paths.
/// The images are the same files, as nobody changes them.
fn spare(stampo: &Stampo, name: &str) -> PathBuf {
    let spare = stampo.path(name);
    std::fs::create_dir(&spare).expect("made");
    for entry in std::fs::read_dir(stampo.home()).expect("listed").flatten() {
        let is_images = entry.file_name() == "images";
        let how = if is_images { "-al" } else { "-a" };
        let copied = Command::new("cp")
            .args([Path::new(how), &entry.path(), &spare])
            .status();
        assert!(copied.is_ok_and(|status| status.success()), "{entry:?}");
    }
    spare
}

/// Nothing is to be done, and the tender looks at times whether that is so still.
fn while_its_tender_sleeps(stampo: &Stampo) {
    create(stampo, "2");
    await_true("the pool is full", PATIENCE, || {
        let pool = stampo.json(&["pool", "show", "last"]);
        pool["ready"]
            .as_array()
            .is_some_and(|ready| ready.len() == 2)
    });
    std::thread::sleep(Duration::from_secs(1));
    let running = processes(&stampo.home());
    assert_eq!(machines(&running), 2, "{running:?}");
    assert_eq!(running.len(), 3, "and what tends them: {running:?}");
    removed(stampo, "asleep");
}

/// It is just making members.
fn while_its_tender_works(stampo: &Stampo) {
    create(stampo, "8");
    await_true("the first of many", PATIENCE, || {
        machines(&processes(&stampo.home())) > 0
    });
    removed(stampo, "at work");
}

fn create(stampo: &Stampo, warm: &str) {
    let words = ["pool", "create", "last", "--from", "web", "--warm", warm];
    stampo.ok(&[&words[..], &["--depth", "spawned"]].concat());
}

/// Removes the home, as often as that takes: what is being made in it may come between.
fn removed(stampo: &Stampo, how: &str) {
    let home = stampo.home();
    let mut tries = 0;
    await_true("the home goes", PATIENCE, || {
        tries += 1;
        let _ = Command::new("rm").arg("-rf").arg(&home).output();
        !home.exists()
    });
    let gone = Instant::now();
    await_true("its processes go", LIMIT, || processes(&home).is_empty());
    let took = gone.elapsed();
    assert!(!home.exists(), "it came back");
    eprintln!("removed home, tender {how}: {tries} tries, and all are gone after {took:?}");
}

fn await_true(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How many of these are machines.
fn machines(processes: &[String]) -> usize {
    let is_machine = |process: &&String| process.contains("qemu-system");
    processes.iter().filter(is_machine).count()
}

/// The command lines of all processes that name this home (proc_pid_cmdline(5)).
fn processes(home: &Path) -> Vec<String> {
    let named = home.display().to_string();
    let all = std::fs::read_dir("/proc").expect("listed").flatten();
    // One that has ended meanwhile has none.
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&named)).collect()
}
