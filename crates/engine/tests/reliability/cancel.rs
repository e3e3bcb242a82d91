//! Cancelling an operation at each of its steps, and defects in the middle of one.

use crate::clean::assert_clean;
use crate::home::*;
use stampo_core::goal::CloneKind;
use stampo_core::plan::CloneSpec;
use stampo_engine::{Engine, EngineError, Faults, Settings, Watch};
use stampo_guest::seal::Selection;
use stampo_store::{EventRow, OperationState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A watcher that wants to stop once the flag is up.
struct Stopper(Arc<AtomicBool>);

impl Watch for Stopper {
    fn event(&self, _: &EventRow) {}
    fn progress(&self, _: &str, _: u64, _: u64) {}
    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

type Act = fn(&Engine, &dyn Watch) -> Result<(), EngineError>;

type Prepare = fn() -> Home;

const OPERATIONS: [(&str, Prepare, Act); 6] = [
    ("import", Home::empty, |e, watch| {
        let source = import_source(source());
        let import = e.submit_import(&template("web"), source)?;
        e.run_import(import, watch).map(drop)
    }),
    ("seal", Home::draft, |e, watch| {
        let seal = e.submit_seal(&reference("web"), Selection::default())?;
        e.run_seal(seal, watch).map(drop)
    }),
    ("verify", Home::published, |e, watch| {
        let verify = e.submit_verify(&reference("web"))?;
        e.run_verify(verify, watch).map(drop)
    }),
    ("clone", Home::published, |e, watch| {
        let spec = CloneSpec {
            count: Some(3),
            start: Some(true),
            ..spec()
        };
        clone_watched(e, "app-{n}", &spec, watch).map(drop)
    }),
    ("full clone", Home::published, |e, watch| {
        let spec = CloneSpec {
            kind: Some(CloneKind::Full),
            ..spec()
        };
        clone_watched(e, "app", &spec, watch).map(drop)
    }),
    ("flatten", one_guest, |e, watch| {
        let flatten = e.submit_flatten(&name("app"))?;
        e.run_flatten(flatten, watch).map(drop)
    }),
];

/// Everything in the catalog but operations, events and the audit.
fn rows(engine: &Engine) -> String {
    let versions = engine.store().read(|tx| tx.versions()).expect("rows");
    let guests = engine.store().read(|tx| tx.guests()).expect("rows");
    let versions = versions.iter().map(|row| (row.label(), row.state));
    let guests = guests.iter().map(|row| (&row.name, row.state, row.kind));
    format!(
        "{:?} {:?}",
        versions.collect::<Vec<_>>(),
        guests.collect::<Vec<_>>()
    )
}

/// The flag goes up at point `at`, or before the beginning.
fn cancel_at(make: Prepare, act: Act, at: Option<usize>, what: &str) -> (bool, usize) {
    let home = make();
    let before = rows(&home.engine());
    let flag = Arc::new(AtomicBool::new(at.is_none()));
    let reached = Arc::new(AtomicUsize::new(0));
    let (up, count) = (flag.clone(), reached.clone());
    let faults = Faults::new(move |_| {
        if Some(count.fetch_add(1, Ordering::SeqCst)) == at {
            up.store(true, Ordering::SeqCst);
        }
    });
    let engine = open(&home.path(), faults);
    let result = act(&engine, &Stopper(flag));
    let last = engine
        .store()
        .read(|tx| tx.recent_operations(1))
        .expect("rows")
        .remove(0);
    let is_cancelled = match result {
        Err(EngineError::Cancelled) => {
            assert_eq!(rows(&engine), before, "{what}: something remains");
            assert_eq!(last.state, OperationState::Undone, "{what}");
            true
        }
        Ok(()) => {
            assert_eq!(last.state, OperationState::Done, "{what}: too late to stop");
            false
        }
        Err(error) => panic!("{what}: {}", error.chain()),
    };
    drop(engine);
    assert_clean(&home.path(), what);
    (is_cancelled, reached.load(Ordering::SeqCst))
}

pub fn a_cancelled_operation_leaves_nothing() {
    for (kind, make, act) in OPERATIONS {
        let (was_cancelled, _) = cancel_at(make, act, None, &format!("{kind} from the start"));
        assert!(was_cancelled, "{kind}: not even at its start");
        let mut at = 0;
        let mut cancelled = 0;
        loop {
            let what = format!("{kind} cancelled at {at}");
            let (was_cancelled, points) = cancel_at(make, act, Some(at), &what);
            cancelled += usize::from(was_cancelled);
            at += 1;
            if at >= points {
                break;
            }
        }
        assert!(cancelled > 0, "{kind} can't be cancelled");
    }
}

/// Another process asks through the catalog.
pub fn another_process_can_cancel() {
    let home = Home::published();
    let engine = Arc::new(home.engine());
    let pattern = stampo_core::names::NamePattern::new("app-{n}");
    let (operation, _) = engine
        .submit_clone(&reference("web"), &pattern, &spec())
        .expect("submitted");
    let other = open(&home.path(), Faults::default());
    other
        .store()
        .write(|tx| tx.cancel_operation(operation.id))
        .expect("asked to stop");
    let result = engine.clone_guests(operation.id, &stampo_engine::Unwatched);
    assert!(matches!(result, Err(EngineError::Cancelled)), "{result:?}");
    drop((engine, other));
    assert_clean(&home.path(), "cancelled by another process");
}

/// A panic in one thread of a clone fails that guest; the others go on and the operation ends.
pub fn a_defect_in_one_thread_ends_the_operation() {
    for (make, act, point) in [
        (
            Home::published as Prepare,
            OPERATIONS[3].2,
            "clone.disk.before-rename",
        ),
        (Home::draft, OPERATIONS[1].2, "seal.edited"),
        (one_guest, OPERATIONS[5].2, "flatten.made"),
    ] {
        let home = make();
        let once = AtomicBool::new(false);
        let faults = Faults::new(move |reached| {
            if reached == point && !once.swap(true, Ordering::SeqCst) {
                panic!("a defect at {point}");
            }
        });
        let settings = Settings {
            parallel: 4,
            ..Settings::default()
        };
        let engine = open_with(&home.path(), faults, settings);
        let error = act(&engine, &stampo_engine::Unwatched).expect_err("it hit a defect");
        let text = error.chain();
        assert!(text.contains("a defect at"), "{point}: {text}");
        drop(engine);
        assert_clean(&home.path(), point);
    }
}
