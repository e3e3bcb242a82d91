//! Builds a recipe into a directory and prints what takes how long:
//! `cargo run -p stampo-build --example build_template -- recipe.toml DIRECTORY`.

use stampo_build::{BuildProgress, Loaded, Mmdebstrap, Phase, build};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

struct Times(Mutex<(Instant, Option<Phase>)>);

impl Times {
    fn end_phase(&self, next: Option<Phase>) {
        let mut state = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(phase) = state.1 {
            println!(
                "{:6.2} s  {}",
                state.0.elapsed().as_secs_f64(),
                phase.title()
            );
        }
        *state = (Instant::now(), next);
    }
}

impl BuildProgress for Times {
    fn phase(&self, phase: Phase) {
        self.end_phase(Some(phase));
    }
    fn detail(&self, _: &str) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [recipe, staging] = arguments.as_slice() else {
        return Err("usage: build_template RECIPE DIRECTORY".into());
    };
    let start = Instant::now();
    let loaded = Loaded::from_path(recipe)?;
    let times = Times(Mutex::new((start, None)));
    let built = build(&loaded.recipe, staging, &Mmdebstrap, &times).map_err(|error| {
        let source = error
            .source()
            .map(|source| format!(": {source}"))
            .unwrap_or_default();
        format!("failed to {error}{source}")
    })?;
    times.end_phase(None);
    std::fs::write(staging.join("packages.lock"), built.lock.to_toml())?;
    println!(
        "{:6.2} s  {}",
        start.elapsed().as_secs_f64(),
        built.disk.display()
    );
    println!(
        "mode {:?}, {} packages, tree {}",
        built.mode,
        built.package_list.len(),
        built.tree_digest
    );
    built
        .reproducibility
        .iter()
        .for_each(|note| println!("note: {note}"));
    Ok(())
}
