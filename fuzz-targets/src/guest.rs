//! The inside of a guest: what stampo reads from it, and what it makes of it.
//!
//! The input is a tree, see `tree.rs`. These go through the same doors as the product, so that
//! every parser behind them is reached with the file names that lead to it.

use crate::tree::{listing, parts, tree};
use rand::SeedableRng;
use rand::rngs::StdRng;
use stampo_core::identity::FactValue;
use stampo_core::ids::{GuestId, ImageId};
use stampo_core::network::Mac;
use stampo_core::personalisation::Personalisation;
use stampo_guest::fs::GuestRead;
use stampo_guest::inspect::inspect_tree;
use stampo_guest::passport::{
    AgentFiles, Content, ShellFacts, facts_from_agent, patterns, read_facts,
};
use stampo_guest::personalise::{Context, Elsewhere, GuestSecrets, check, personalise as write};
use stampo_guest::seal::proof::{Proof, prove};
use stampo_guest::seal::{Selection, apply, needles, plan};
use std::sync::OnceLock;

/// Inspection and seal proof. Both never fail, and both survive being written.
pub fn inspect_and_prove(bytes: &[u8]) {
    let tree = tree(&parts(bytes));
    let found = inspect_tree(&tree);
    crate::values::survives_json(&found);
    let proof = prove(&tree, "fuzz");
    crate::values::survives_json::<Proof>(&proof);
    for finding in &proof.findings {
        let clean = |text: &str| !text.chars().any(char::is_control);
        assert!(
            clean(&finding.detail) && finding.detail.len() <= 2000,
            "{finding:?}"
        );
    }
}

/// Sealing twice changes nothing the second time.
pub fn seal(bytes: &[u8]) {
    let mut tree = tree(&parts(bytes));
    let Ok(first) = plan(&tree, &Selection::default()) else {
        return;
    };
    let _ = needles(&tree, &first);
    if apply(&mut tree, &first).is_err() {
        return;
    }
    let second = plan(&tree, &Selection::default()).expect("a sealed guest can be planned for");
    let changes: Vec<_> = second.changes.iter().map(ToString::to_string).collect();
    assert!(second.is_empty(), "the second time: {changes:#?}");
}

pub fn secrets() -> &'static GuestSecrets {
    static SECRETS: OnceLock<GuestSecrets> = OnceLock::new();
    SECRETS.get_or_init(|| {
        GuestSecrets::generate(&mut StdRng::seed_from_u64(1)).expect("secrets can be made")
    })
}

pub fn context() -> Context {
    Context {
        guest: GuestId(uuid::Uuid::from_u128(0x1000)),
        version: "web@3".to_owned(),
        image: ImageId::from_bytes([7; 32]),
        nics: vec![Mac::from_random([0, 0, 0, 1])],
        grow_root: true,
        elsewhere: Elsewhere::NotSearched,
        now_s: 1_767_225_600,
    }
}

/// Personalising: refused requests change nothing, and a repeated one changes nothing more. The
/// part `@request` is the request as JSON.
pub fn personalise(bytes: &[u8]) {
    let parts = parts(bytes);
    let mut tree = tree(&parts);
    let written = parts.iter().find(|(path, _)| *path == "request");
    let request = written.and_then(|(_, json)| serde_json::from_slice(json).ok());
    let request = request.unwrap_or_else(|| Personalisation {
        hostname: "app-1.example.org".to_owned(),
        ..Personalisation::default()
    });
    let context = context();
    let refused = check(&tree, &request, &context).is_err();
    let before = refused.then(|| listing(&tree));
    match write(&mut tree, &request, secrets(), &context) {
        Err(_) => {
            if let Some(before) = before {
                assert!(
                    before == listing(&tree),
                    "a refused request changed the guest"
                );
            }
        }
        Ok(report) => {
            assert!(!refused, "what is written was refused by the check");
            let name = tree.read("/etc/hostname", 1 << 10).expect("a host name");
            assert_eq!(
                name.trim_ascii(),
                request.hostname.split('.').next().unwrap_or("").as_bytes()
            );
            let first = listing(&tree);
            let again = write(&mut tree, &request, secrets(), &context).expect("it was possible");
            // The writer of ISO images puts the time of day into it.
            let length = |seed: Option<Vec<u8>>| seed.map(|seed| seed.len());
            assert_eq!(length(again.seed), length(report.seed));
            let second = listing(&tree);
            let differs: Vec<_> = second.iter().filter(|line| !first.contains(line)).collect();
            assert!(first == second, "the second time: {differs:#?}");
        }
    }
}

/// The passport, of a disk and of what an agent said. A fact never holds a value.
pub fn passport(bytes: &[u8]) {
    let parts = parts(bytes);
    let tree = tree(&parts);
    let shell = ShellFacts::default();
    let salt = [7; 32];
    let of_disk = read_facts(&tree, &shell, &salt);
    let mut files = AgentFiles::default();
    for (path, content) in &parts {
        files
            .files
            .insert((*path).to_owned(), Content::Bytes(content.to_vec()));
    }
    for pattern in patterns().filter(|pattern| !pattern.contains('*')) {
        files
            .files
            .entry(pattern.to_owned())
            .or_insert(Content::Absent);
    }
    for fact in of_disk
        .iter()
        .chain(&facts_from_agent(&files, &shell, &salt))
    {
        if let FactValue::Present(hash) = &fact.value {
            let plain = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(plain, "{fact:?}");
        }
    }
}
