//! Evidence as one page, for people and for printing: no script, nothing from elsewhere.

use maud::{DOCTYPE, Markup, html};
use stampo_api::{Class, Evidence};

/// How the page looks. Machines' names and paths may be long, and paper is narrow.
const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}\
table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{text-align:left;vertical-align:top;\
padding:.3rem .6rem;border-bottom:1px solid #ccc;overflow-wrap:anywhere}th{border-color:#333}\
.yes{color:#060}.partly{color:#850}.no{color:#900}dl{display:grid;grid-template-columns:auto 1fr;gap:.2rem 1rem}\
@media print{body{margin:0;max-width:none}tr{break-inside:avoid}}";

/// The page.
pub fn of(evidence: &Evidence) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Evidence of " (evidence.host) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { "Evidence of " (evidence.host) }
                p { (crate::output::time(evidence.at_ms)) ", stampo " (evidence.stampo) }
                (summary(evidence))
                (controls(evidence))
                h2 { "Not known" }
                ul { @for unknown in &evidence.unknowns { li { (unknown) } } }
                (rules(evidence))
                (machines(evidence))
                (strangers(evidence))
                (versions(evidence))
            }
        }
    };
    page.into_string()
}

fn summary(evidence: &Evidence) -> Markup {
    let s = &evidence.summary;
    let rows = [
        (
            "current",
            s.current,
            "from the newest version, approved and on offer",
        ),
        (
            "outdated",
            s.outdated,
            "a newer version is on offer, or theirs is deprecated",
        ),
        (
            "withdrawn",
            s.withdrawn,
            "their version is not on offer any more",
        ),
        (
            "unapproved",
            s.unapproved,
            "their version is not approved as the site asks",
        ),
        (
            "revoked",
            s.revoked,
            "their version is revoked, or its bytes have changed",
        ),
        (
            "of unknown origin",
            s.unknown_origin,
            "not made by stampo, or of a version that is gone",
        ),
    ];
    html! {
        h2 { (s.machines) " machines" }
        table {
            @for (name, count, what) in rows {
                tr { th scope="row" { (name) } td { (count) } td { (what) } }
            }
        }
    }
}

fn controls(evidence: &Evidence) -> Markup {
    html! {
        h2 { "Controls" }
        table {
            tr { th { "Control" } th { "Name" } th { "Shown" } th { "What is" } }
            @for control in &evidence.controls {
                tr {
                    td { (control.id) }
                    td { (control.name) }
                    td class=(control.shown.as_str()) { (control.shown.as_str()) }
                    td { (control.what) }
                }
            }
        }
    }
}

fn rules(evidence: &Evidence) -> Markup {
    let (rules, audit) = (&evidence.rules, &evidence.audit);
    html! {
        h2 { "Rules and audit" }
        dl {
            dt { "Approval" } dd { (rules.approval) " (" (rules.approval_digest) ")" }
            dt { "Check pack" } dd { (rules.pack) " (" (rules.pack_digest) ")" }
            dt { "Retention" } dd { (if rules.retention { "set" } else { "everything stays" }) }
            dt { "Audit" } dd {
                (audit.records) " records, a signed checkpoint covers " (audit.covered)
                "; key " (if audit.key.is_empty() { "none yet" } else { &audit.key })
            }
            @for fault in &audit.faults { dt { "Fault" } dd class="no" { (fault) } }
        }
    }
}

fn machines(evidence: &Evidence) -> Markup {
    let bad = evidence
        .machines
        .iter()
        .filter(|machine| machine.standing != Class::Current);
    let bad: Vec<_> = bad.collect();
    html! {
        @if !bad.is_empty() {
            h2 { "Machines that are not current" }
            table {
                tr { th { "Machine" } th { "Standing" } th { "Version" } }
                @for machine in bad {
                    tr { td { (machine.name) } td { (machine.standing.as_str()) } td { (machine.version) } }
                }
            }
        }
    }
}

fn strangers(evidence: &Evidence) -> Markup {
    html! {
        @if !evidence.strangers.is_empty() {
            h2 { "Machines on this host that stampo did not make" }
            table {
                tr { th { "Process" } th { "Name" } th { "Reads" } th { "Disks" } }
                @for one in &evidence.strangers {
                    tr {
                        td { (one.pid) }
                        td { (one.name) }
                        td { (one.reads.as_deref().unwrap_or("no image of ours")) }
                        td { (one.disks.join(" ")) }
                    }
                }
            }
        }
    }
}

fn versions(evidence: &Evidence) -> Markup {
    html! {
        h2 { "Versions in use" }
        table {
            tr {
                th { "Version" } th { "State" } th { "Machines" } th { "Approval" } th { "Conformity" }
                th { "Bytes read" } th { "Image" }
            }
            @for version in &evidence.versions {
                tr {
                    td { (version.version) }
                    td {
                        (version.state)
                        @if !version.cves.is_empty() { " " (version.cves.join(", ")) }
                    }
                    td { (version.machines) }
                    td { (version.approval) @if version.signed { ", signed" } }
                    td { (if version.conformity.is_empty() { "no report" } else { &version.conformity }) }
                    td {
                        @if let Some(at_ms) = version.read_ms { (crate::output::time(at_ms)) }
                        @else { "never" }
                    }
                    td { (version.image) }
                }
            }
        }
    }
}
