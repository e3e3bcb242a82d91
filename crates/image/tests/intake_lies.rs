//! The child's word is not taken: whatever a program in its place says or does, the parent ends
//! with one clear error, an empty destination, and no process left.

mod intake_support;

use intake_support::{TIGHT, file_of, take_with};
use stampo_image::intake::{DeclaredFormat, IntakeError, Limits};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const READY: &str = r#"{"ready":{"landlock":"full","became_nobody":true}}"#;

/// One test at a time: a script that another thread's fork still holds open can't be executed.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A shell script in the child's place. Its standard error is the pipe to the parent.
fn script(body: &str) -> tempfile::TempPath {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    write!(file, "#!/bin/sh\nexec 3>&1 1>&2\n{body}\n").expect("space");
    let executable = std::fs::Permissions::from_mode(0o755);
    file.as_file()
        .set_permissions(executable)
        .expect("our own file");
    file.into_temp_path()
}

fn run(body: &str, progress: &dyn Fn(u64, u64) -> bool) -> (IntakeError, Duration) {
    let _alone = alone();
    let program = script(body);
    let limits = Limits { wall_s: 2, ..TIGHT };
    let start = Instant::now();
    let source = file_of(&[1; 4096]);
    let (result, destination) = take_with(&program, source, DeclaredFormat::Raw, limits, progress);
    let error = result.expect_err("a lie was believed");
    assert_eq!(destination.metadata().expect("metadata").len(), 0, "{body}");
    (error, start.elapsed())
}

#[test]
fn every_lie_is_found_out() {
    let taken =
        r#"{"taken":{"virtual_size_bytes":4096,"data_bytes":0,"details":{"format":"raw"}}}"#;
    let more = taken.replace("\"data_bytes\":0", "\"data_bytes\":8192");
    let qcow2 = taken.replace(
        r#"{"format":"raw"}"#,
        r#"{"format":"qcow2","version":3,"cluster_size_bytes":4096,"compression":"zlib","compressed_clusters":0}"#,
    );
    let grow = "dd if=/dev/zero bs=4096 count=1 2>/dev/null >&3";
    let rows = [
        (":".to_owned(), "died"),
        ("exit 3".to_owned(), "died"),
        ("echo hello".to_owned(), "answer"),
        ("echo '{\"ready\":1}'".to_owned(), "answer"),
        (format!("echo '{taken}'"), "answer"),
        (format!("echo '{READY}'; echo '{READY}'"), "answer"),
        (format!("echo '{READY}'; exit 0"), "died"),
        (format!("echo '{READY}'; echo '{taken}'"), "answer"),
        (format!("{grow}; echo '{READY}'; echo '{more}'"), "answer"),
        (format!("{grow}; echo '{READY}'; echo '{qcow2}'"), "answer"),
        (
            format!("echo '{READY}'; echo '{{\"refused\":{{\"kind\":\"no_such\"}}}}'"),
            "answer",
        ),
        ("head -c 5000 /dev/zero".to_owned(), "answer"),
        (format!("echo '{READY}'; kill -SYS $$"), "violation"),
        (format!("echo '{READY}'; kill -XCPU $$"), "cpu_limit"),
        (format!("echo '{READY}'; kill -ABRT $$"), "died"),
        (format!("echo '{READY}'; exec sleep 60"), "wall_limit"),
    ];
    for (body, kind) in rows {
        let (error, time) = run(&body, &|_, _| true);
        assert_eq!(error.kind(), kind, "{body}: {error}");
        assert!(time < Duration::from_secs(4), "{body}: {time:?}");
    }
}

#[test]
fn an_honest_word_in_the_same_form_is_believed() {
    let body = format!(
        "dd if=/dev/zero bs=4096 count=1 2>/dev/null >&3; echo '{READY}'; \
         echo '{{\"taken\":{{\"virtual_size_bytes\":4096,\"data_bytes\":0,\"details\":{{\"format\":\"raw\"}}}}}}'"
    );
    let _alone = alone();
    let program = script(&body);
    let source = file_of(&[1; 4096]);
    let (result, _) = take_with(&program, source, DeclaredFormat::Raw, TIGHT, &|_, _| true);
    assert_eq!(result.expect("a plain report").virtual_size_bytes, 4096);
}

#[test]
fn a_refusal_can_not_carry_escape_sequences() {
    let lie = r#"{"refused":{"kind":"backing_file","name":"\\u001b]0;owned\\u0007"}}"#;
    let (error, _) = run(&format!("echo '{READY}'; echo '{lie}'"), &|_, _| true);
    assert_eq!(error.kind(), "backing_file");
    assert!(
        error.to_string().chars().all(|c| !c.is_control()),
        "{error:?}"
    );
}

#[test]
fn the_caller_can_cancel_a_child_that_says_nothing() {
    let (error, time) = run(&format!("echo '{READY}'; exec sleep 60"), &|_, _| false);
    assert_eq!(error.kind(), "cancelled");
    assert!(time < Duration::from_secs(2), "{time:?}");
}

#[test]
fn a_missing_program_is_a_fault_of_the_system() {
    let _alone = alone();
    let nowhere = Path::new("/nonexistent/stampo");
    let (result, _) = take_with(
        nowhere,
        file_of(b"x"),
        DeclaredFormat::Raw,
        TIGHT,
        &|_, _| true,
    );
    assert_eq!(intake_support::refused_kind(result), "system");
}

#[test]
fn only_a_new_file_is_a_destination_and_only_another_file_a_source() {
    use stampo_image::intake::{IntakeRequest, take_in};
    let kind = |source: std::fs::File, destination: std::fs::File| {
        let (declared, limits) = (DeclaredFormat::Raw, TIGHT);
        let program = Some(intake_support::CHILD.into());
        let progress = &|_, _| true;
        let request = IntakeRequest {
            source,
            declared,
            destination,
            limits,
            program,
            progress,
        };
        intake_support::refused_kind(take_in(&request))
    };
    assert_eq!(kind(file_of(b"x"), file_of(b"kept")), "destination");
    let file = file_of(b"");
    assert_eq!(kind(file.try_clone().expect("a copy"), file), "source");
    let directory = std::fs::File::open("/").expect("a directory");
    assert_eq!(kind(directory, file_of(b"")), "source");
    let null = std::fs::File::open("/dev/null").expect("a device");
    assert_eq!(kind(null, file_of(b"")), "source");
}
