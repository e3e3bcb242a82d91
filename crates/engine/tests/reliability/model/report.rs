//! What a person reads when a run fails: programs, and the answer that nothing explains.

use super::answer::{Answer, Record};
use super::search::Stuck;
use super::shrink::Programs;
use super::state::State;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many earlier answers are shown.
const BEFORE: usize = 12;

/// Programs, one step a line.
pub fn programs(programs: &Programs) -> String {
    let mut text = String::new();
    for (process, steps) in programs.iter().enumerate() {
        if steps.is_empty() {
            continue;
        }
        let _ = writeln!(text, "  process {process}:");
        for step in steps {
            let _ = writeln!(text, "    {step}");
        }
    }
    text
}

/// How many answers of each sort a history has, and how long they took.
pub fn summary(history: &[Vec<Record>]) -> String {
    let mut sorts: BTreeMap<String, usize> = BTreeMap::new();
    for record in history.iter().flatten() {
        let sort = match &record.answer {
            Answer::Refused(refusal) => {
                let text = format!("{refusal:?}");
                let name = text.split(['(', ' ']).next().unwrap_or_default();
                format!("refused as {name}")
            }
            Answer::Strange(_) => "strange".to_owned(),
            _ => "done".to_owned(),
        };
        *sorts.entry(sort).or_default() += 1;
    }
    let sorts = sorts.iter().map(|(sort, count)| format!("{count} {sort}"));
    let sorts = sorts.collect::<Vec<_>>().join(", ");
    let records = history.iter().flatten();
    let took = records.map(|record| (record.answered_ns - record.asked_ns) / 1_000_000);
    let mut took_ms: Vec<u64> = took.collect();
    took_ms.sort_unstable();
    let middle = took_ms.get(took_ms.len() / 2).copied().unwrap_or_default();
    let worst = took_ms.last().copied().unwrap_or_default();
    format!("{sorts}; a step took {middle} ms, at worst {worst} ms")
}

/// The answer that a search could not get beyond, with what was going on and what came before.
pub fn stuck(what: &str, stuck: &Stuck<State>, history: &[Vec<Record>]) -> String {
    let pending = stuck.at.iter().zip(history).enumerate();
    let mut pending: Vec<(usize, usize, &Record)> = pending
        .filter_map(|(process, ((done, moments), records))| {
            Some((process, *moments, records.get(*done)?))
        })
        .collect();
    pending.sort_by_key(|(_, _, record)| record.answered_ns);
    let Some((process, moments, record)) = pending.first() else {
        return what.to_owned();
    };
    let mut text = format!(
        "{what} this answer, of which {moments} moments came about:\n  {}\n",
        line(*process, record)
    );
    let during = history.iter().enumerate().flat_map(|(process, records)| {
        let overlaps = |other: &&Record| {
            other.asked_ns <= record.answered_ns && other.answered_ns >= record.asked_ns
        };
        records.iter().filter(overlaps).map(move |r| (process, r))
    });
    section(&mut text, "meanwhile", during.collect(), usize::MAX);
    let before = history.iter().enumerate().flat_map(|(process, records)| {
        let earlier = |other: &&Record| other.answered_ns < record.asked_ns;
        records.iter().filter(earlier).map(move |r| (process, r))
    });
    section(&mut text, "before", before.collect(), BEFORE);
    let _ = write!(text, "the model's state there:\n{}", state(&stuck.state));
    text
}

fn section(text: &mut String, title: &str, mut records: Vec<(usize, &Record)>, most: usize) {
    records.sort_by_key(|(_, record)| record.answered_ns);
    let _ = writeln!(text, "{title}:");
    let skipped = records.len().saturating_sub(most);
    for (process, record) in records.into_iter().skip(skipped) {
        let _ = writeln!(text, "  {}", line(process, record));
    }
}

/// One record: when, who, what, and what it was told.
fn line(process: usize, record: &Record) -> String {
    let version = match record.number {
        0 => String::new(),
        number => format!(" (web@{number})"),
    };
    let answer = match &record.answer {
        Answer::Listed(seen) => format!("\n{}", state(seen)),
        other => format!("{other:?}"),
    };
    format!(
        "{}…{} µs, process {process}: {}{version} → {answer}",
        record.asked_ns / 1000 % 1_000_000_000,
        record.answered_ns / 1000 % 1_000_000_000,
        record.step
    )
}

fn state(state: &State) -> String {
    let mut text = String::new();
    for (name, guest) in &state.guests {
        let _ = writeln!(text, "    {name}: {guest:?}");
    }
    for (number, version) in &state.versions {
        let _ = writeln!(text, "    web@{number}: {version:?}");
    }
    text
}
