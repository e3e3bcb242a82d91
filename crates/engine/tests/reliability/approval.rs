//! Approvals: who may, what voids them, the glass, clones, strangers, and a lost catalog.

use crate::cases::{Case, is};
use crate::clean::assert_clean;
use crate::governance::{row, said};
use crate::home::*;
use libtest_mimic::Trial;
use stampo_attest::signature::{APPROVAL_NAMESPACE, new_key, sign};
use stampo_core::approval::{Decision, Preset, Said};
use stampo_core::lifecycle::{State, Verb};
use stampo_engine::{Engine, EngineError, Faults, Settings, Spoken, verify_bundle};

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("approval_{name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("solo_needs_nobody_and_says_who", solo),
        trial("team_needs_one_who_did_not_make_it", team),
        trial("regulated_needs_two_and_a_third_to_purge", regulated),
        trial("is_void_when_what_it_is_bound_to_changes", void),
        trial("signature_and_statement_have_to_be_right", forged),
        trial("is_refused_with_a_reason", rejected),
        trial("glass_is_broken_by_two", glass),
        trial("is_asked_for_at_each_clone_where_that_is_set", at_clone),
        trial("comes_back_after_the_catalog_is_lost", lost),
        trial("bundle_convinces_who_knows_the_key", bundle),
        trial(
            "row_that_was_changed_comes_back_or_counts_for_nothing",
            rotten,
        ),
    ]
}

/// The commands that are killed, fail, and lose power.
pub fn cases() -> Vec<Case> {
    let case = |name, prepare, act, done| Case {
        name,
        prepare,
        act,
        done,
    };
    vec![
        case(
            "approval_set",
            Home::published,
            |e| e.set_approval(&site("team", "")).map(drop),
            |e| {
                let kept = std::fs::read_to_string(e.home().join("approval.yaml"));
                let (settings, _) = e.approval_settings().expect("settings");
                settings.rule.preset == Preset::Team && kept.is_ok_and(|t| t == settings.text())
            },
        ),
        case(
            "submit",
            || asked("team"),
            |e| speak(e, ANN, Said::Submitted).map(drop),
            |e| is(e, "web@1", State::InReview),
        ),
        case(
            "approve",
            in_review,
            |e| speak(e, BEN, Said::Approved).map(drop),
            |e| is(e, "web@1", State::Approved),
        ),
        case(
            "reject",
            in_review,
            |e| speak(e, BEN, Said::Rejected).map(drop),
            |e| is(e, "web@1", State::Rejected),
        ),
        case(
            "break_glass",
            || {
                let home = in_review();
                speak(&home.engine(), ANN, Said::BrokeGlass).expect("one of two");
                home
            },
            |e| speak(e, CID, Said::BrokeGlass).map(drop),
            |e| is(e, "web@1", State::Approved),
        ),
    ]
}

/// Who made it.
pub const ANN: u8 = 1;
/// Of security.
pub const BEN: u8 = 2;
/// Anybody else.
pub const CID: u8 = 3;
/// A program.
const BOT: u8 = 4;
/// Nobody of the site.
const EVE: u8 = 5;

/// A site's settings with these people.
pub fn site(preset: &str, more: &str) -> String {
    let key = |who: u8| new_key([who; 32], "").expect("a key").1;
    format!(
        "schema: stampo.approval/1\npreset: {preset}\n{more}signers:\n\
         - {{principal: ann, uid: 1001, keys: ['{}']}}\n\
         - {{principal: ben, uid: 1002, roles: [security], keys: ['{}']}}\n\
         - {{principal: cid, uid: 1003, keys: ['{}']}}\n\
         - {{principal: bot, robot: true, keys: ['{}']}}\n",
        key(ANN),
        key(BEN),
        key(CID),
        key(BOT)
    )
}

/// Says something about `web@1`, signed.
pub fn speak(engine: &Engine, who: u8, what: Said) -> Result<Spoken, EngineError> {
    speak_of(engine, "web@1", who, what)
}

/// Says something about a version, signed.
pub fn speak_of(
    engine: &Engine,
    version: &str,
    who: u8,
    what: Said,
) -> Result<Spoken, EngineError> {
    let (private, public) = new_key([who; 32], "").expect("a key");
    let made = engine.to_say(&reference(version), what, Some(&public), "because")?;
    let signature = sign(&private, APPROVAL_NAMESPACE, &made.statement).expect("signed");
    engine.say(&reference(version), &made.statement, &signature, &public)
}

/// `web@1`, sealed, where approvals are asked for.
pub fn asked(preset: &str) -> Home {
    let home = Home::draft();
    let engine = home.engine();
    seal(&engine, "web").expect("sealed");
    engine.set_approval(&site(preset, "")).expect("set");
    home
}

fn in_review() -> Home {
    let home = asked("team");
    speak(&home.engine(), ANN, Said::Submitted).expect("submitted");
    home
}

fn refused<T: std::fmt::Debug>(done: Result<T, EngineError>, why: &str) {
    let error = done.expect_err("it has to be refused").chain();
    assert!(error.contains(why), "{error:?} does not say {why:?}");
}

fn as_user(home: &Home, actor: &str) -> Engine {
    let settings = Settings {
        parallel: 1,
        actor: actor.to_owned(),
        ..Settings::default()
    };
    open_with(&home.path(), Faults::default(), settings)
}

fn details(engine: &Engine, action: &str) -> Vec<String> {
    let rows = engine.store().read(|tx| tx.audit(u32::MAX)).expect("read");
    let of = rows.into_iter().filter(|row| row.action == action);
    of.map(|row| row.detail).collect()
}

fn solo() {
    let home = Home::draft();
    let engine = home.engine();
    seal(&engine, "web").expect("sealed");
    publish(&engine, "web").expect("published");
    let told = details(&engine, "publish");
    assert_eq!(told, ["published: approved by who published it"]);
    // Whoever likes the ceremony can have it, without a key.
    import(&engine, "web", source()).expect("imported");
    seal(&engine, "web@2").expect("sealed");
    for (what, state) in [
        (Said::Submitted, State::InReview),
        (Said::Approved, State::Approved),
    ] {
        let made = engine
            .to_say(&reference("web@2"), what, None, "")
            .expect("made");
        assert!(made.is_enough);
        let spoken = engine.say(&reference("web@2"), &made.statement, "", "");
        assert_eq!(spoken.expect("said").version.state, state);
    }
}

fn team() {
    let home = asked("team");
    let engine = home.engine();
    refused(publish(&engine, "web"), "not approved");
    refused(
        speak(&engine, BEN, Said::Approved),
        "approve a version that is sealed",
    );
    speak(&engine, ANN, Said::Submitted).expect("submitted");
    refused(
        publish(&engine, "web"),
        "publish a version that is in_review",
    );
    refused(
        speak(&engine, ANN, Said::Approved),
        "by who made the version",
    );
    refused(speak(&engine, BOT, Said::Approved), "robots don't approve");
    refused(speak(&engine, EVE, Said::Approved), "no signer's");
    let unsigned = engine.to_say(&reference("web@1"), Said::Approved, None, "");
    refused(unsigned, "it has to be signed");
    let spoken = speak(&engine, BEN, Said::Approved).expect("approved");
    assert_eq!(spoken.version.state, State::Approved);
    assert_eq!(spoken.in_words(), "approved by ben");
    publish(&engine, "web").expect("published");
    clone(&engine, "app", &spec()).expect("cloned");
    drop(engine);
    assert_clean(&home.path(), "approved");
}

/// On this host who seals is known by the user id, and so is who purges.
fn regulated() {
    let home = Home::empty();
    let by_cid = as_user(&home, "local:cid(1003)");
    import(&by_cid, "web", source()).expect("imported");
    seal(&by_cid, "web").expect("sealed");
    drop(by_cid);
    let engine = home.engine();
    let more = format!(
        "- {{principal: dan, uid: 1004, keys: ['{}']}}\n",
        new_key([7; 32], "").expect("a key").1
    );
    let text = site("regulated", "") + &more;
    engine.set_approval(&text).expect("set");
    speak(&engine, BOT, Said::Submitted).expect("a program may submit");
    refused(
        speak(&engine, CID, Said::Approved),
        "by who made the version",
    );
    let spoken = speak(&engine, ANN, Said::Approved).expect("the first of two");
    assert_eq!(spoken.version.state, State::InReview);
    assert_eq!(
        spoken.in_words(),
        "approved by ann; 1 more needed, among them 1 of security"
    );
    let spoken = speak(&engine, ANN, Said::Approved).expect("the same person again");
    assert_eq!(spoken.version.state, State::InReview);
    speak(&engine, BEN, Said::Approved).expect("the second");
    publish(&engine, "web").expect("published");
    engine
        .change_version(&reference("web@1"), Verb::Retire)
        .expect("retired");
    drop(engine);
    for actor in [
        "local:ann(1001)",
        "local:cid(1003)",
        "local:who(9)",
        "local:test",
    ] {
        let purged = as_user(&home, actor).change_version(&reference("web@1"), Verb::Purge);
        refused(purged, "purge web@1");
        assert!(is(&home.engine(), "web@1", State::Retired), "{actor}");
    }
    let apart = as_user(&home, "local:dan(1004)");
    let purged = apart.change_version(&reference("web@1"), Verb::Purge);
    assert_eq!(purged.expect("purged").state, State::Purged);
}

fn approved(preset: &str) -> Home {
    let home = asked(preset);
    let engine = home.engine();
    speak(&engine, ANN, Said::Submitted).expect("submitted");
    speak(&engine, BEN, Said::Approved).expect("approved");
    home
}

fn decision(engine: &Engine, version: &str) -> Decision {
    let standing = engine.approval_standing(&row(engine, version));
    standing.expect("read").expect("asked for").decision
}

const PACK: &str = "schema: stampo.policy-pack/1\nname: site\nversion: '1'\nbase: none\nchecks:\n  \
                    files.world-writable: {}\n";

fn void() {
    // Another pack.
    let home = approved("team");
    let engine = home.engine();
    assert!(decision(&engine, "web@1").allows());
    engine.set_policy_pack(Some(PACK)).expect("set");
    refused(publish(&engine, "web"), "not approved");
    refused(
        speak(&engine, BEN, Said::Approved),
        "approve a version that is approved",
    );
    engine.set_policy_pack(None).expect("set");
    engine
        .policy_check(&reference("web"), None)
        .expect("checked");
    publish(&engine, "web").expect("all is as it was");

    // The same pack finds something else.
    let home = approved("team");
    let engine = home.engine();
    let accepted = stampo_policy::exception::RawException {
        check: "software.guest-agent".to_owned(),
        subject: "web@*".to_owned(),
        path: None,
        owner: "ann".to_owned(),
        reason: "a test".to_owned(),
        expires: "2099-01-01".to_owned(),
    };
    engine.policy_accept(accepted).expect("accepted");
    refused(publish(&engine, "web"), "not approved");
    // Submitted again it is another matter.
    speak(&engine, ANN, Said::Submitted).expect("submitted again");
    speak(&engine, BEN, Said::Approved).expect("approved again");
    publish(&engine, "web").expect("published");

    // Other bytes under the same name.
    let home = approved("team");
    let engine = home.engine();
    let mut other = row(&engine, "web@1");
    other.image = Some(stampo_core::ids::ImageId::from_bytes([9; 32]));
    engine
        .store()
        .write(|tx| tx.update_version(&other))
        .expect("forced");
    assert!(!decision(&engine, "web@1").allows());

    // A signer who is none any more.
    let home = approved("team");
    let engine = home.engine();
    let text = site("team", "");
    let without_ben: Vec<&str> = text.lines().filter(|line| !line.contains("ben")).collect();
    engine.set_approval(&without_ben.join("\n")).expect("set");
    refused(publish(&engine, "web"), "not approved");
}

fn forged() {
    let home = in_review();
    let engine = home.engine();
    let (private, public) = new_key([BEN; 32], "").expect("a key");
    let (others, other_public) = new_key([CID; 32], "").expect("a key");
    let web = reference("web@1");
    let made = engine
        .to_say(&web, Said::Approved, Some(&public), "fine")
        .expect("made");
    let good = sign(&private, APPROVAL_NAMESPACE, &made.statement).expect("signed");
    let say = |text: &str, signature: &str, key: &str| engine.say(&web, text, signature, key);
    let wrong_key = sign(&others, APPROVAL_NAMESPACE, &made.statement).expect("signed");
    refused(say(&made.statement, &wrong_key, &public), "by another key");
    refused(say(&made.statement, &wrong_key, &other_public), "not ben's");
    let wrong_use = sign(&private, "git", &made.statement).expect("signed");
    refused(
        say(&made.statement, &wrong_use, &public),
        "made for \"git\"",
    );
    refused(say(&made.statement, "", ""), "it has to be signed");
    for (old, new, why) in [
        ("\"fine\"", "\"fime\"", "not of this text"),
        ("\"comment\":", "\"comment\": ", "written in another way"),
    ] {
        refused(say(&made.statement.replace(old, new), &good, &public), why);
    }
    // Signed rightly, and about something that is not so.
    let image = row(&engine, "web@1").image.expect("an image").to_string();
    for (old, new) in [
        (image.as_str(), &"0".repeat(64)),
        ("web@1", &"web@2".to_owned()),
        ("\"needed\":1", &"\"needed\":0".to_owned()),
    ] {
        let lie = made.statement.replace(old, new);
        assert_ne!(lie, made.statement);
        let signature = sign(&private, APPROVAL_NAMESPACE, &lie).expect("signed");
        refused(say(&lie, &signature, &public), "has changed since");
    }
    let at = made.statement.find("\"atMs\":").expect("a moment") + 7;
    let mut old = made.statement.clone();
    old.replace_range(at..at + 13, "1000000000000");
    let signature = sign(&private, APPROVAL_NAMESPACE, &old).expect("signed");
    refused(say(&old, &signature, &public), "of another time");
    assert!(
        is(&engine, "web@1", State::InReview),
        "nothing was recorded"
    );
    assert!(!decision(&engine, "web@1").allows());
    say(&made.statement, &good, &public).expect("as it was made");
}

fn rejected() {
    let home = in_review();
    let engine = home.engine();
    let public = new_key([BEN; 32], "").expect("a key").1;
    for what in [Said::Rejected, Said::BrokeGlass] {
        let made = engine.to_say(&reference("web@1"), what, Some(&public), " ");
        refused(made, "a reason is needed");
    }
    speak(&engine, BEN, Said::Rejected).expect("rejected");
    refused(speak(&engine, CID, Said::Approved), "rejected");
    refused(publish(&engine, "web"), "rejected");
    let told = details(&engine, "reject");
    assert!(told[0].starts_with("rejected by ben (SHA256:"), "{told:?}");
    assert!(told[0].ends_with(": because"), "{told:?}");
}

fn glass() {
    let home = asked("regulated");
    let engine = home.engine();
    let first = speak(&engine, ANN, Said::BrokeGlass).expect("the first");
    assert_eq!(first.version.state, State::Sealed);
    refused(publish(&engine, "web"), "not approved");
    speak(&engine, ANN, Said::BrokeGlass).expect("the same person");
    assert!(is(&engine, "web@1", State::Sealed), "one is not two");
    refused(speak(&engine, BOT, Said::BrokeGlass), "robots");
    let second = speak(&engine, CID, Said::BrokeGlass).expect("the second");
    assert_eq!(second.version.state, State::Approved);
    publish(&engine, "web").expect("published");
    let told = details(&engine, "break-glass");
    assert_eq!(told.len(), 3);
    assert!(
        told.iter().all(|told| told.starts_with("BREAK-GLASS: ")),
        "{told:?}"
    );
    assert!(told[0].contains("ann, cid broke the glass"), "{told:?}");
    let pattern = stampo_core::names::NamePattern::new("app");
    let plan = engine.plan_clones(&reference("web@1"), &pattern, &spec());
    let warnings = plan.expect("a plan").warnings;
    assert!(
        warnings[0].contains("ann, cid broke the glass"),
        "{warnings:?}"
    );
    assert!(matches!(
        decision(&engine, "web@1"),
        Decision::BrokenGlass { .. }
    ));
}

fn at_clone() {
    let home = Home::published();
    let engine = home.engine();
    engine.set_approval(&site("team", "")).expect("set");
    clone(&engine, "before", &spec()).expect("offered before anybody asked");
    let strict = site("team", "verify-at-clone: true\n");
    engine.set_approval(&strict).expect("set");
    refused(
        clone_of(&engine, "web@1", "app", &spec(), &stampo_engine::Unwatched),
        "clone web@1",
    );
    refused(clone(&engine, "app", &spec()), "a published version of");

    let home = approved("team");
    let engine = home.engine();
    engine.set_approval(&strict).expect("set");
    publish(&engine, "web").expect("published");
    clone(&engine, "app", &spec()).expect("approved");
    // Something that was signed is changed in the catalog.
    change_rows(
        &home,
        "statement = replace(statement, 'because', 'becausE')",
    );
    refused(
        clone_of(&engine, "web@1", "b", &spec(), &stampo_engine::Unwatched),
        "1 more needed",
    );
}

/// Changes what was signed behind the back of the checksums.
fn change_rows(home: &Home, change: &str) {
    let raw = rusqlite::Connection::open(home.path().join("catalog.db")).expect("opened");
    let of = "SELECT sql FROM sqlite_schema WHERE name = 'approvals_updated'";
    let trigger: String = raw.query_row(of, [], |row| row.get(0)).expect("a trigger");
    raw.execute_batch(&format!(
        "DROP TRIGGER approvals_updated; UPDATE approvals SET {change}; {trigger}"
    ))
    .expect("changed");
}

fn lost() {
    let home = approved("regulated");
    let engine = home.engine();
    speak(&engine, CID, Said::Approved).expect("the second");
    publish(&engine, "web").expect("published");
    let before = engine
        .approval_standing(&row(&engine, "web@1"))
        .expect("read");
    let bundle = engine
        .approval_bundle(&reference("web@1"))
        .expect("a bundle");
    let settings = engine.approval_settings().expect("settings");
    drop(engine);
    lose_catalog(&home.path());
    let engine = home.engine();
    assert_eq!(
        engine.approval_settings().expect("settings"),
        settings,
        "not less strict"
    );
    engine.rescan().expect("rebuilt");
    assert_eq!(
        engine
            .approval_bundle(&reference("web@1"))
            .expect("a bundle"),
        bundle
    );
    let after = engine
        .approval_standing(&row(&engine, "web@1"))
        .expect("read");
    assert_eq!(after, before);
    clone(&engine, "app", &spec()).expect("approved, and so it was before");
}

fn bundle() {
    let home = approved("team");
    let engine = home.engine();
    let file = home.ground().join("bundle.json");
    let text = engine
        .approval_bundle(&reference("web@1"))
        .expect("a bundle");
    std::fs::write(&file, &text).expect("written");
    let image = row(&engine, "web@1").image.expect("an image");
    let disk = home
        .path()
        .join("images")
        .join(image.as_str())
        .join("disk.raw");
    let key = |who: u8| new_key([who; 32], "").expect("a key").1;
    let proof = verify_bundle(&file, Some(&disk), &[key(BEN)]).expect("proven");
    assert_eq!(
        (proof.version.as_str(), proof.statements.len()),
        ("web@1", 2)
    );
    assert!(proof.reports[0].contains("\"schema\":\"stampo.policy-report/1\""));
    assert!(proof.provenances[0].contains("https://slsa.dev/provenance/v1"));
    refused(verify_bundle(&file, None, &[key(ANN)]), "has not approved");
    refused(
        verify_bundle(&file, None, &[key(BEN), key(CID)]),
        "has not approved",
    );
    refused(verify_bundle(&file, None, &[]), "name the keys");
    refused(
        verify_bundle(&file, Some(source()), &[key(BEN)]),
        "it is another disk",
    );
    speak(&engine, BEN, Said::Rejected).expect("rejected");
    let text = engine
        .approval_bundle(&reference("web@1"))
        .expect("a bundle");
    std::fs::write(&file, &text).expect("written");
    refused(verify_bundle(&file, None, &[key(BEN)]), "has rejected it");
}

fn rotten() {
    let home = approved("team");
    change_rows(
        &home,
        "signature = replace(signature, 'A', 'B') WHERE sequence = 2",
    );
    let engine = home.engine();
    assert!(!decision(&engine, "web@1").allows());
    let scrub = engine
        .submit_scrub(stampo_engine::ScrubOptions::default())
        .expect("submitted");
    let scrubbed = engine.run_scrub(&scrub, &stampo_engine::Unwatched);
    assert!(scrubbed.is_err(), "it says what it found");
    assert!(decision(&engine, "web@1").allows(), "from the sidecar");
    said(&engine, "web@1", Verb::Publish).expect("published");
}
