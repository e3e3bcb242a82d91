//! The store that rots, and how it was before.
//!
//! | version | state | its image |
//! |---|---|---|
//! | web@1 | published, read by the linked clones app-1 and app-2 | its own |
//! | one@1, two@1 | drafts | shared |
//! | kept@1 | sealed, with accepted findings | its own |
//! | old@1 | retired, read by the linked clone old | its own |

use super::catalog::{Content, content};
use super::scrub;
use crate::home::{
    Home, clone_of, findings_of, import, make_filesystem, name, publish, reference, seal, source,
    spec,
};
use stampo_core::lifecycle::{State, Verb};
use stampo_core::plan::CloneSpec;
use stampo_engine::{Engine, Unwatched};
use stampo_guest::seal::Selection;
use stampo_store::VersionRow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// The store, made once.
pub fn prepare() -> Home {
    let home = Home::published();
    let engine = home.engine();
    clone_of(
        &engine,
        "web",
        "app-{n}",
        &CloneSpec {
            count: Some(2),
            ..spec()
        },
        &Unwatched,
    )
    .expect("cloned");
    clone_of(&engine, "web", "gone", &spec(), &Unwatched).expect("cloned");
    engine
        .rename(&name("gone"), &name("renamed"))
        .expect("renamed");
    engine
        .remove(&name("renamed"), Some(HOUR))
        .expect("trashed");
    import(&engine, "one", source()).expect("imported");
    import(&engine, "two", source()).expect("imported");
    kept(&home, &engine);
    old(&home, &engine);
    assert_eq!(scrub(&engine).expect("a scrub").damage, []);
    engine.store().checkpoint().expect("one file");
    drop(engine);
    home
}

fn kept(home: &Home, engine: &Engine) {
    let file = home.path().with_file_name("kept.raw");
    let initiator = "InitiatorName=iqn.1993-08.org.debian:01:5f0a3c9e1b2d\n";
    let files = [
        ("usr/sbin/iscsid", "x"),
        ("etc/iscsi/initiatorname.iscsi", initiator),
    ];
    make_filesystem(&file, &files);
    import(engine, "kept", &file).expect("imported");
    let selection = Selection {
        keep: vec!["/etc/iscsi".to_owned()],
        ..Selection::default()
    };
    let seal = engine
        .submit_seal(&reference("kept"), selection)
        .expect("submitted");
    engine.run_seal(seal, &Unwatched).expect("sealed");
    for finding in findings_of(engine, "kept@1") {
        let reason = "a test keeps it";
        engine
            .accept(&reference("kept"), &finding, None, reason)
            .expect("accepted");
    }
}

fn old(home: &Home, engine: &Engine) {
    let file = home.path().with_file_name("old.raw");
    make_filesystem(&file, &[("etc/old", "a file\n")]);
    import(engine, "old", &file).expect("imported");
    seal(engine, "old").expect("sealed");
    publish(engine, "old").expect("published");
    clone_of(engine, "old", "old", &spec(), &Unwatched).expect("cloned");
    engine
        .change_version(&reference("old"), Verb::Retire)
        .expect("retired");
}

/// How a store was before anything was flipped.
pub struct Pristine {
    files: BTreeMap<PathBuf, Vec<u8>>,
    states: BTreeMap<String, State>,
    users: BTreeMap<String, (Vec<String>, Vec<String>)>,
    subjects: BTreeMap<PathBuf, Vec<String>>,
    /// The rows of all versions.
    pub versions: Vec<VersionRow>,
    /// What SQLite reads from the catalog.
    pub content: Content,
}

/// Remembers a store.
pub fn pristine(home: &Path) -> Pristine {
    let engine = crate::home::open(home, stampo_engine::Faults::default());
    let (versions, guests) = engine
        .store()
        .read(|tx| Ok::<_, stampo_engine::EngineError>((tx.versions()?, tx.guests()?)))
        .expect("rows");
    engine.store().checkpoint().expect("one file");
    drop(engine);
    let catalog = home.join("catalog.db");
    let mut whole = Pristine {
        content: content(&fs::read(&catalog).expect("readable")).expect("a sound catalog"),
        files: BTreeMap::new(),
        states: BTreeMap::new(),
        users: BTreeMap::new(),
        subjects: BTreeMap::new(),
        versions: versions.clone(),
    };
    whole.remember(catalog);
    for row in &versions {
        let image = row.image.clone().expect("an image").to_string();
        let dir = home.join("images").join(&image);
        whole.states.insert(row.label(), row.state);
        let users = whole.users.entry(image.clone()).or_default();
        users.0.push(row.label());
        users.0.sort();
        let all = users.0.clone();
        whole.subjects.insert(dir.join("leaves.bin"), all);
        whole.remember(dir.join("leaves.bin"));
        let sidecar = dir.join(format!("version-{}.json", row.id));
        whole.subjects.insert(sidecar.clone(), vec![row.label()]);
        whole.remember(sidecar);
    }
    for row in &guests {
        let users = whole.users.entry(row.image.to_string()).or_default();
        users.1.push(row.name.to_string());
        users.1.sort();
        let sidecar = home
            .join("guests")
            .join(row.id.to_string())
            .join("guest.json");
        whole
            .subjects
            .insert(sidecar.clone(), vec![row.name.to_string()]);
        whole.remember(sidecar);
    }
    whole
}

impl Pristine {
    fn remember(&mut self, path: PathBuf) {
        let bytes = fs::read(&path).expect("readable");
        self.files.insert(path, bytes);
    }

    /// The bytes of a file.
    pub fn file(&self, path: &Path) -> &[u8] {
        &self.files[path]
    }

    /// Whose state is what.
    pub fn state_of(&self, label: &str) -> State {
        self.states[label]
    }

    /// The versions with an image, and the guests that read it, sorted.
    pub fn users_of(&self, image: &str) -> (Vec<String>, Vec<String>) {
        self.users[image].clone()
    }

    /// The disks that linked clones read.
    pub fn bases(&self, home: &Path) -> Vec<PathBuf> {
        let read = self.users.iter().filter(|(_, users)| !users.1.is_empty());
        let disk = |image: &String| home.join("images").join(image).join("disk.raw");
        read.map(|(image, _)| disk(image)).collect()
    }

    /// The version or the guest of a file.
    pub fn subjects_of(&self, path: &Path) -> Vec<String> {
        self.subjects[path].clone()
    }

    /// Puts every file back that is not as it was, but disks: their bits are flipped back.
    pub fn put_back(&self, home: &Path) {
        for name in ["catalog.db-wal", "catalog.db-shm"] {
            let _ = fs::remove_file(home.join(name));
        }
        for (path, bytes) in &self.files {
            if fs::read(path).ok().as_ref() != Some(bytes) {
                fs::write(path, bytes).expect("written");
            }
        }
    }
}
