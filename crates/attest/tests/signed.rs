//! Statements, signatures, settings and bundles: with the keys and the program that people have,
//! and with every byte changed.

use proptest::prelude::*;
use stampo_attest::bundle::{Bundle, SCHEMA, Signed};
use stampo_attest::canonical;
use stampo_attest::digest;
use stampo_attest::settings::Settings;
use stampo_attest::signature::{APPROVAL_NAMESPACE, Key, key_of, new_key, sign};
use stampo_attest::statement::{Approval, Statement};
use stampo_core::approval::{Preset, Said};
use std::path::Path;
use std::process::{Command, Stdio};

fn statement(who: &str, said: Said, report: &str, provenance: Option<&str>) -> Statement {
    let said = Approval {
        said,
        by: who.parse().expect("a signer"),
        comment: "tested on \"rack 4\"; größer\t\u{1f}".to_owned(),
        at_ms: 1_800_000_000_000,
        policy: digest("policy"),
        report: digest(report),
        conclusion: digest("conclusion"),
        preset: Preset::Team,
        needed: 1,
        makers: vec!["local:ann(1001)".to_owned()],
        provenance: provenance.map(digest),
    };
    Statement::new("web@3", &"ab".repeat(32), said)
}

fn signed(seed: u8, statement: &Statement) -> Signed {
    let (private, key) = new_key([seed; 32], "").expect("a key");
    let text = statement.text().expect("canonical");
    Signed {
        signature: sign(&private, APPROVAL_NAMESPACE, &text).expect("signed"),
        statement: text,
        key,
    }
}

fn bundle() -> Bundle {
    let submitted = statement("ann", Said::Submitted, "{}", Some("[]"));
    let approved = statement("ben", Said::Approved, "{}", None);
    Bundle {
        schema: SCHEMA.to_owned(),
        version: "web@3".to_owned(),
        image: "ab".repeat(32),
        statements: vec![signed(1, &submitted), signed(2, &approved)],
        reports: vec!["{}".to_owned()],
        provenances: vec!["[]".to_owned()],
    }
}

fn key(seed: u8) -> Key {
    Key::parse(&new_key([seed; 32], "").expect("a key").1).expect("its public half")
}

#[test]
fn a_bundle_proves_what_was_signed() {
    let read = Bundle::parse(&bundle().text()).expect("as it was written");
    let proof = read.verify(&[key(2)]).expect("proven");
    let trusted: Vec<bool> = proof.statements.iter().map(|one| one.trusted).collect();
    assert_eq!(trusted, [false, true]);
}

/// Whatever byte is changed: it is not believed, or it means the same as before.
#[test]
fn every_changed_byte_of_a_bundle_is_found() {
    let bundle = bundle();
    let text = bundle.text();
    let proof = bundle.verify(&[key(2)]).expect("proven");
    let mut refused = 0;
    for at in 0..text.len() {
        {
            let change = [1, 0x20, 0x80][at % 3];
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= change;
            let Ok(changed) = String::from_utf8(bytes) else {
                refused += 1;
                continue;
            };
            let again = Bundle::parse(&changed).and_then(|read| read.verify(&[key(2)]));
            match again {
                Err(_) => refused += 1,
                // A space for another, or a line end in the armour of a signature.
                Ok(again) => assert_eq!(again, proof, "byte {at} with {change}"),
            }
        }
    }
    assert!(refused > text.len() * 9 / 10, "{refused} of {}", text.len());
}

#[test]
fn what_is_left_out_or_added_is_found() {
    type Change = fn(&mut Bundle);
    let cases: [(&str, Change); 8] = [
        ("statement 1", |b| b.reports.clear()),
        ("statement 1", |b| b.provenances.clear()),
        ("no statement names", |b| b.reports.push("[]".to_owned())),
        ("no statement names", |b| {
            b.provenances.push("{}".to_owned())
        }),
        ("has not approved", |b| b.statements.truncate(1)),
        ("about web@3", |b| b.version = "web@4".to_owned()),
        ("about web@3", |b| b.image = "cd".repeat(32)),
        ("statement 2", |b| {
            b.statements[1].signature = b.statements[0].signature.clone()
        }),
    ];
    for (why, change) in cases {
        let mut bundle = bundle();
        change(&mut bundle);
        let error = bundle.verify(&[key(2)]).expect_err("refused").to_string();
        assert!(error.contains(why), "{error:?} does not say {why:?}");
    }
    // An approval without a signature counts for nobody.
    let mut bundle = bundle();
    bundle.statements[1].signature.clear();
    bundle.statements[1].key.clear();
    assert!(bundle.verify(&[key(2)]).is_err());
}

#[test]
fn whoever_rejects_last_has_not_approved() {
    let mut bundle = bundle();
    let rejected = statement("ben", Said::Rejected, "{}", None);
    bundle.statements.push(signed(2, &rejected));
    let error = bundle.verify(&[key(2)]).expect_err("refused").to_string();
    assert!(error.contains("has rejected it"), "{error}");
}

fn keygen(args: &[&str], input: &[u8], dir: &Path) -> (bool, Vec<u8>) {
    use std::io::Write;
    let mut child = Command::new("ssh-keygen")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("ssh-keygen can't be started: apt install openssh-client");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input)
        .expect("read");
    let output = child.wait_with_output().expect("it ends");
    (output.status.success(), output.stdout)
}

/// With every kind of key that is taken, both ways; and one kind that is not.
#[test]
fn openssh_signs_for_us_and_checks_what_we_sign() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = statement("ann", Said::Approved, "{}", None)
        .text()
        .expect("canonical");
    for (kind, bits) in [("ed25519", "256"), ("ecdsa", "256"), ("rsa", "2048")] {
        let made = [
            "-q",
            "-t",
            kind,
            "-b",
            bits,
            "-N",
            "",
            "-C",
            "a comment",
            "-f",
            kind,
        ];
        assert!(keygen(&made, b"", dir.path()).0, "{kind}");
        let line = std::fs::read_to_string(dir.path().join(format!("{kind}.pub"))).expect("a key");
        if kind == "rsa" {
            let error = Key::parse(&line).expect_err("not checked here").to_string();
            assert!(error.contains("ssh-keygen -t ed25519"), "{error}");
            continue;
        }
        let key = Key::parse(&line).expect("a key");
        let sign = ["-q", "-Y", "sign", "-n", APPROVAL_NAMESPACE, "-f", kind];
        let (is_signed, signature) = keygen(&sign, text.as_bytes(), dir.path());
        let signature = String::from_utf8(signature).expect("a text");
        assert!(is_signed, "{kind}");
        key.verify(APPROVAL_NAMESPACE, &text, &signature)
            .expect(kind);
        assert!(key_of(&signature).expect("a key") == key);
        let other = text.replace("rack 4", "rack 5");
        assert!(key.verify(APPROVAL_NAMESPACE, &other, &signature).is_err());
        assert!(key.verify("git", &text, &signature).is_err());
    }
    let (private, public) = new_key([7; 32], "").expect("a key");
    let allowed = format!("ann namespaces=\"{APPROVAL_NAMESPACE}\" {public}\n");
    std::fs::write(dir.path().join("allowed"), allowed).expect("written");
    let ours = sign(&private, APPROVAL_NAMESPACE, &text).expect("signed");
    std::fs::write(dir.path().join("sig"), ours).expect("written");
    let check = [
        "-Y",
        "verify",
        "-f",
        "allowed",
        "-I",
        "ann",
        "-n",
        APPROVAL_NAMESPACE,
        "-s",
        "sig",
    ];
    assert!(keygen(&check, text.as_bytes(), dir.path()).0);
    assert!(!keygen(&check, b"something else", dir.path()).0);
}

fn settings(body: &str) -> Result<Settings, String> {
    let (_, ann) = new_key([1; 32], "").expect("a key");
    let (_, ben) = new_key([2; 32], "").expect("a key");
    let text = body.replace("ANN", &ann).replace("BEN", &ben);
    Settings::parse(&format!("schema: stampo.approval/1\n{text}")).map_err(|e| e.to_string())
}

#[test]
fn settings_that_could_not_work_are_refused() {
    let good = "preset: team\nsigners:\n- {principal: ann, uid: 1, keys: [ANN]}\n";
    let read = settings(good).expect("sound");
    assert_eq!(
        Settings::parse(&read.text()).expect("as it was written"),
        read
    );
    let two = format!("{good}- {{principal: ben, roles: [security], keys: [BEN]}}\n");
    let read = settings(&two).expect("sound");
    let strict = read
        .with_preset(Preset::Regulated)
        .expect("two, one of security");
    assert_eq!(strict.rule.needed, 2);
    for (body, why) in [
        ("preset: team\n", "only 0 people"),
        ("preset: teams\n", "read the approval settings"),
        ("preset: solo\nsolo: yes\n", "read the approval settings"),
        ("preset: solo\npreset: solo\n", "read the approval settings"),
        ("preset: team\nneeded: 2\n", "it is for custom"),
        ("preset: custom\nneeded: 0\n", "take the approval settings"),
        (
            "preset: solo\nexpires-days: 0\n",
            "take the approval settings",
        ),
        (
            "preset: team\nsigners:\n- {principal: ci, robot: true, keys: [ANN]}\n",
            "only 0 people",
        ),
        (
            "preset: team\nsigners:\n- {principal: a, keys: [ANN]}\n- {principal: b, keys: [ANN]}\n",
            "a key is somebody else's",
        ),
        (
            "preset: team\nsigners:\n- {principal: a, keys: [ANN]}\n- {principal: a, keys: [BEN]}\n",
            "the name is somebody else's",
        ),
        (
            "preset: team\nsigners:\n- {principal: a, uid: 1, keys: [ANN]}\n\
             - {principal: b, uid: 1, keys: [BEN]}\n",
            "the uid is somebody else's",
        ),
        (
            "preset: team\nsigners:\n- {principal: a, keys: []}\n",
            "no key",
        ),
        (
            "preset: team\nsigners:\n- {principal: a, keys: [x]}\n",
            "take a key of a",
        ),
        (
            "preset: regulated\nsigners:\n- {principal: a, keys: [ANN]}\n\
             - {principal: b, keys: [BEN]}\n",
            "only 2 people",
        ),
    ] {
        let error = settings(body).expect_err(body);
        assert!(
            error.contains(why),
            "{body}: {error:?} does not say {why:?}"
        );
    }
}

proptest! {
    #[test]
    fn canonical_texts_are_read_and_written_as_they_are(text in "\\PC*", n in -(1i64 << 53) + 1..(1i64 << 53)) {
        let value = serde_json::json!({ "b": [text, n, null], "a": { "ü": true, "z": text } });
        let written = canonical::to_text(&value).expect("it has one form");
        let read: serde_json::Value = canonical::from_text(&written, 1 << 20).expect("as written");
        prop_assert_eq!(read, value);
        let longer = written + " ";
        prop_assert!(canonical::from_text::<serde_json::Value>(&longer, 1 << 20).is_err());
    }

    #[test]
    fn nothing_that_is_given_makes_a_panic(text in "\\PC{0,200}") {
        let _ = Bundle::parse(&text);
        let _ = Statement::parse(&text);
        let _ = Key::parse(&text);
        let _ = Settings::parse(&text);
        let _ = key(1).verify("x", &text, &text);
    }
}

#[test]
fn numbers_without_one_form_are_refused() {
    for text in [
        "1.5",
        "1e3",
        "9007199254740993",
        "{\"a\":1,\"a\":1}",
        "{\"b\":1,\"a\":1}",
        "[1, 2]",
    ] {
        assert!(
            canonical::from_text::<serde_json::Value>(text, 100).is_err(),
            "{text}"
        );
    }
}
