//! Packs are read strictly, exceptions end, and a report can be made again.

use crate::guests::{LATER_S, NOW_S, good, of, report, report_by};
use stampo_guest::fs::tree::TreeFixture;
use stampo_policy::exception::RawException;
use stampo_policy::report::Report;
use stampo_policy::{Exception, Mode, Pack, Subject, Verdict, evaluate, gather_tree};

const HEAD: &str = "schema: stampo.policy-pack/1\nname: site\nversion: '7'\n";

fn pack(rest: &str) -> Pack {
    Pack::parse(&format!("{HEAD}{rest}")).expect(rest)
}

/// The chain of errors of a pack that is refused.
fn refusal(text: &str) -> String {
    let error = Pack::parse(text).expect_err(text);
    let mut chain = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        chain = format!("{chain}: {error}");
        source = error.source();
    }
    chain
}

#[test]
fn what_a_pack_says_is_what_counts() {
    let pack = pack(
        "mode: warn\nchecks:\n  disk.free: {mode: enforce, severity: high, with: {percent: 30}}\n  \
         residue.logs: {enabled: false}\n",
    );
    let rule = |id: &str| pack.rules.iter().find(|rule| rule.check.id == id);
    let free = rule("disk.free").expect("named");
    assert_eq!((free.mode, free.severity.as_str()), (Mode::Enforce, "high"));
    assert!(rule("residue.logs").is_none());
    assert_eq!(rule("disk.clean").expect("by itself").mode, Mode::Warn);
}

#[test]
fn a_pack_from_nothing_has_only_what_it_names() {
    let pack = pack("base: none\nchecks:\n  boot.fstab: {}\n");
    assert_eq!(pack.rules.len(), 1);
}

#[test]
fn what_is_mistyped_is_refused() {
    for (rest, says) in [
        ("modes: warn\n", "unknown field `modes`"),
        ("mode: strict\n", "unknown variant"),
        ("checks: {disk.fre: {}}\n", "there is no check \"disk.fre\""),
        ("checks: {disk.free: {mod: warn}}\n", "unknown field `mod`"),
        (
            "checks: {disk.free: {with: {percents: 3}}}\n",
            "percent (a number)",
        ),
        (
            "checks: {disk.free: {with: {percent: [a]}}}\n",
            "percent (a number)",
        ),
        (
            "checks: {disk.free: {with: {percent: -1}}}\n",
            "did not match",
        ),
        ("checks: {boot.fstab: {with: {x: 1}}}\n", "none"),
        (
            "checks: {disk.free: {}, disk.free: {mode: warn}}\n",
            "duplicate",
        ),
        ("mode: warn\nmode: audit\n", "duplicate"),
        ("exceptions: [{check: boot.fstab}]\n", "missing field"),
    ] {
        let chain = refusal(&format!("{HEAD}{rest}"));
        assert!(chain.contains(says), "{rest:?}: {chain}");
    }
    assert!(refusal("schema: x\nname: a\nversion: b\n").contains("schema"));
    assert!(refusal(&format!("{HEAD}# {}", "x".repeat(1 << 20))).contains("bytes"));
    let bomb = "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\n\
                g: &g [*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g]\n";
    refusal(bomb);
}

#[test]
fn only_what_is_enforced_refuses() {
    let bad = good().file("/etc/fstab", "/dev/sda1 / ext4 defaults 0 1\n");
    for (mode, refused) in [("audit", false), ("warn", false), ("enforce", true)] {
        let pack = pack(&format!(
            "base: none\nchecks: {{boot.fstab: {{mode: {mode}}}}}\n"
        ));
        let report = report_by(&bad, &pack, NOW_S);
        assert_eq!(
            (report.verdict, report.refused),
            (Verdict::Fail, refused),
            "{mode}"
        );
        let warned = report.warned_at(stampo_policy::Point::Clone).count();
        assert_eq!(warned, usize::from(mode == "warn"));
        assert!(!report_by(&good(), &pack, NOW_S).refused);
    }
}

#[test]
fn what_is_unknown_is_refused_where_it_is_enforced() {
    let pack = pack("base: none\nchecks: {boot.fstab: {mode: enforce}}\n");
    let report = report_by(&good().damaged("/etc/fstab"), &pack, NOW_S);
    assert_eq!((report.verdict, report.refused), (Verdict::Unknown, true));
}

#[test]
fn where_nothing_applies_nothing_passes() {
    for rest in [
        "mode: enforce\nbase: none\nchecks: {disk.free: {}, disk.clean: {}}\n",
        "mode: enforce\nbase: none\n",
    ] {
        let report = report_by(&good(), &pack(rest), NOW_S);
        assert!(report.nothing_applied());
        assert_eq!(
            (report.verdict, report.refused),
            (Verdict::Fail, true),
            "{rest}"
        );
    }
}

fn exception(path: Option<&str>, expires: &str) -> Exception {
    let raw = RawException {
        check: "files.setuid".into(),
        subject: "web@*".into(),
        path: path.map(str::to_owned),
        owner: "ann".into(),
        reason: "the vendor's program".into(),
        expires: expires.into(),
    };
    Exception::try_from(raw).expect("sound")
}

fn excepted(tree: &TreeFixture, exception: &Exception, at_s: i64) -> Report {
    let exceptions = std::slice::from_ref(exception);
    let subject = Subject::new("web@3", "i", exceptions);
    evaluate(&gather_tree(tree), &Pack::built_in(), &subject, at_s)
}

#[test]
fn an_exception_counts_for_its_place_until_its_day_has_passed() {
    let owner = stampo_guest::fs::Owner::root(0o4755);
    let one = good().file_as("/opt/app/run", "x", owner);
    let two = good()
        .file_as("/opt/app/run", "x", owner)
        .file_as("/opt/else", "x", owner);
    let of_app = exception(Some("/opt/app/*"), "2023-11-15");
    let verdict = |tree, at_s| of(&excepted(tree, &of_app, at_s), "files.setuid").verdict;
    assert_eq!(verdict(&one, NOW_S), Verdict::Pass);
    assert_eq!(verdict(&two, NOW_S), Verdict::Fail);
    // 2023-11-15 is the last day: NOW_S is in it.
    assert_eq!(verdict(&one, NOW_S + 86_400), Verdict::Fail);
    let report = excepted(&one, &of_app, NOW_S + 86_400);
    let ended = &of(&report, "files.setuid").ended_exceptions;
    assert!(
        ended[0].contains("ann") && ended[0].contains("2023-11-15"),
        "{ended:?}"
    );
    let report = excepted(&one, &of_app, NOW_S);
    let finding = &of(&report, "files.setuid").findings[0];
    assert!(
        finding
            .accepted
            .as_ref()
            .is_some_and(|text| text.contains("the vendor's program"))
    );
}

#[test]
fn an_exception_of_another_version_counts_for_nothing() {
    let tree = good().file_as("/opt/app", "x", stampo_guest::fs::Owner::root(0o4755));
    let all = exception(None, "2099-01-01");
    let exceptions = std::slice::from_ref(&all);
    let subject = Subject::new("db@3", "i", exceptions);
    let report = evaluate(&gather_tree(&tree), &Pack::built_in(), &subject, NOW_S);
    assert_eq!(of(&report, "files.setuid").verdict, Verdict::Fail);
}

#[test]
fn only_an_exception_for_all_places_accepts_what_is_not_known() {
    let tree = good().damaged("/tmp");
    let verdict = |path| {
        let report = excepted(&tree, &exception(path, "2099-01-01"), NOW_S);
        of(&report, "files.setuid").verdict
    };
    assert_eq!(verdict(Some("/opt/*")), Verdict::Unknown);
    assert_eq!(verdict(None), Verdict::Pass);
}

#[test]
fn exceptions_without_reason_owner_or_day_are_refused() {
    let line = |text: &str| refusal(&format!("{HEAD}exceptions:\n- {{{text}}}\n"));
    let of = |check: &str, owner: &str, reason: &str, expires: &str| {
        line(&format!(
            "check: {check}, subject: '*', owner: '{owner}', reason: '{reason}', expires: '{expires}'"
        ))
    };
    assert!(of("files.setuid", " ", "r", "2027-01-01").contains("owner"));
    assert!(of("files.setuid", "o", "", "2027-01-01").contains("reason"));
    assert!(of("files.setuid", "o", "r", "never").contains("no day"));
    assert!(of("files.setuid", "o", "r", "2027-02-30").contains("no day"));
    assert!(of("files.suid", "o", "r", "2027-01-01").contains("no check"));
}

#[test]
fn a_report_is_made_again_from_what_was_kept() {
    let evidence = gather_tree(&good().file("/etc/fstab", "/dev/sda1 / ext4 defaults 0 1\n"));
    let pack = pack("checks: {files.setuid: {mode: enforce}}\n");
    let subject = Subject::new("web@3", "i", &[]);
    let first = evaluate(&evidence, &pack, &subject, NOW_S);
    let kept = serde_json::to_string(&evidence).expect("JSON");
    let again = serde_json::from_str(&kept).expect("the same");
    let second = evaluate(
        &again,
        &Pack::parse(&pack.text).expect("sound"),
        &subject,
        NOW_S,
    );
    assert_eq!(first, second);
    assert_eq!(first.digest(), second.digest());
    let later = evaluate(&again, &pack, &subject, LATER_S);
    assert_ne!(first.digest(), later.digest());
    let kept: Report =
        serde_json::from_str(&serde_json::to_string(&first).expect("JSON")).expect("the same");
    assert_eq!(kept.digest(), first.digest());
}

#[test]
fn comments_do_not_change_a_digest_and_rules_do() {
    let plain = pack("checks: {disk.free: {with: {percent: 20}}}\n");
    assert_eq!(
        plain.digest(),
        pack("# hello\nchecks:\n  disk.free:\n    with: {percent: 20}\n").digest()
    );
    assert_ne!(
        plain.digest(),
        pack("checks: {disk.free: {with: {percent: 21}}}\n").digest()
    );
    assert_ne!(plain.digest(), Pack::built_in().digest());
}

#[test]
fn what_was_accepted_with_the_proof_is_accepted_here() {
    use stampo_guest::seal::proof;
    let tree = good().file("/etc/ssh/ssh_host_rsa_key", "x");
    let mut evidence = gather_tree(&tree);
    let accepted =
        proof::Exception::new("ssh.host-keys", Some("/etc/ssh/*"), "a lab").expect("sound");
    evidence.accept(&[accepted]);
    let subject = Subject::new("web@3", "i", &[]);
    let of_lab = evaluate(&evidence, &Pack::built_in(), &subject, NOW_S);
    assert_eq!(of(&of_lab, "identity.ssh-host-keys").verdict, Verdict::Pass);
    assert_eq!(
        of(&report(&tree), "identity.ssh-host-keys").verdict,
        Verdict::Fail
    );
}

#[test]
fn a_rule_counts_where_the_pack_says() {
    use stampo_policy::Point;
    let tree = good().file_as("/opt/app", "x", stampo_guest::fs::Owner::root(0o4755));
    let refused = |text: &str| {
        let report = report_by(&tree, &pack(text), NOW_S);
        let all = stampo_policy::point::POINTS.iter().map(|row| row.point);
        all.filter(|point| report.refusal_at(*point).is_some())
            .collect::<Vec<_>>()
    };
    let rule = "checks: {files.setuid: {mode: enforce}}\n";
    let usual = [Point::Submit, Point::Publish, Point::Clone, Point::Freeze];
    assert_eq!(refused(rule), usual);
    assert_eq!(
        refused(&format!("at: [seal, delete]\n{rule}")),
        [Point::Seal, Point::Delete]
    );
    let own = "at: [seal]\nchecks: {files.setuid: {mode: enforce, at: [export]}}\n";
    assert_eq!(refused(own), [Point::Export]);
    let nothing = "mode: enforce\nbase: none\nat: [import]\n";
    assert_eq!(refused(nothing), [Point::Import], "where nothing applied");
    for wrong in [
        "at: []\n",
        "at: [boot]\n",
        "checks: {files.setuid: {at: []}}\n",
    ] {
        assert!(!refusal(&format!("{HEAD}{wrong}")).is_empty(), "{wrong}");
    }
    assert_ne!(
        pack(rule).digest(),
        pack(&format!("at: [seal]\n{rule}")).digest()
    );
}

#[test]
fn a_verdict_holds_for_all_of_its_day() {
    let evidence = gather_tree(&good());
    let day_s = NOW_S.div_euclid(86_400) * 86_400;
    let subject = Subject::new("web@3", "i", &[]);
    for day in (0..6000).step_by(7) {
        let start = day_s + day * 86_400;
        let at = |at_s| evaluate(&evidence, &Pack::built_in(), &subject, at_s).outcomes;
        assert_eq!(at(start), at(start + 86_399), "{day}");
    }
}
