//! Retention settings: what is read, what is refused, and which section counts.

use stampo_core::lease::Span;
use stampo_core::retention::Rules;
use stampo_policy::retention::{MAX_BYTES, Retention};

fn parse(body: &str) -> Result<Retention, String> {
    let text = format!("schema: stampo.retention/1\n{body}");
    Retention::parse(&text).map_err(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    })
}

fn days(days: u64) -> Span {
    Span::of_seconds(days * 86_400)
}

#[test]
fn the_nearest_section_counts_and_takes_the_rest_from_all() {
    let settings = parse(
        "rules: {keep-last: 5, younger-than: 90d, cloned-within: 30d}\n\
         templates:\n  '*': {keep-last: 4}\n  ci-*: {keep-last: 1, obsolete-after: 1d}\n\
         \x20 ci-base: {retire-after: 2d, unpublished-after: 7d}\n  archive*: {keep-all: true}\n",
    )
    .expect("settings");
    let all = Rules {
        keep_last: 5,
        younger_than: Some(days(90)),
        cloned_within: Some(days(30)),
        ..Rules::default()
    };
    let of = |template: &str| settings.rules_of(template);
    assert_eq!(
        of("web"),
        Some(Rules {
            keep_last: 4,
            ..all
        })
    );
    assert_eq!(
        of("ci-web"),
        Some(Rules {
            keep_last: 1,
            obsolete_after: days(1),
            ..all
        })
    );
    // Its own name is nearer than any pattern, and takes nothing from those.
    assert_eq!(
        of("ci-base"),
        Some(Rules {
            retire_after: days(2),
            unpublished_after: Some(days(7)),
            ..all
        })
    );
    assert_eq!(of("archive-2019"), None);
}

#[test]
fn without_a_word_three_stay_and_all_else_takes_its_time() {
    let settings = parse("").expect("settings");
    assert_eq!(settings.rules_of("web"), Some(Rules::default()));
    assert_eq!(Rules::default().keep_last, 3);
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    for (body, words) in [
        ("rules: {keep-lest: 3}", "keep-lest"),
        ("rules: {keep-last: 3, keep-last: 4}", "duplicate"),
        ("rules: {keep-last: -1}", "-1"),
        ("rules: {keep-last: many}", "many"),
        ("rules: {younger-than: 90}", "90"),
        ("rules: {younger-than: 0d}", "0d"),
        ("rules: {obsolete-after: 30 days}", "30 days"),
        ("template: {web: {keep-last: 1}}", "template"),
        ("templates: {'': {keep-last: 1}}", "\"\""),
        ("templates: {'web@3': {keep-last: 1}}", "web@3"),
        ("templates: [web]", "sequence"),
    ] {
        let error = parse(body).expect_err(body);
        assert!(error.contains(words), "{body}: {error}");
    }
    let other = Retention::parse("schema: stampo.retention/2").expect_err("another form");
    assert!(other.to_string().contains("stampo.retention/2"), "{other}");
    assert!(Retention::parse("rules: {}").is_err(), "no schema");
    let long = format!("schema: stampo.retention/1\n#{}", "x".repeat(MAX_BYTES));
    let error = Retention::parse(&long).expect_err("too long");
    assert!(error.to_string().contains("more than"), "{error}");
}
