//! The API's part about evidence, over an engine in this process; and checking a file of it, which
//! needs none.

use crate::local::Local;
use crate::problem::problem;
use stampo_api::{Evidence, EvidenceApi, Kind, Problem, Reply};
use stampo_attest::evidence::{Bundle, LONGEST};
use stampo_attest::signature::Key;
use stampo_image::regular;
use std::path::Path;

impl EvidenceApi for Local {
    fn evidence(&self) -> Reply<Evidence> {
        self.engine.site_evidence().map_err(|error| problem(&error))
    }

    fn evidence_bundle(&self) -> Reply<String> {
        let made = self.engine.evidence_bundle();
        made.map_err(self.refuse("evidence", "site"))
    }

    fn site_key(&self) -> Reply<String> {
        self.engine
            .site_public_key()
            .map_err(|error| problem(&error))
    }
}

/// The evidence in a file, if the key of this line signed it. Needs no home.
pub fn verify_evidence(file: &Path, key: &str) -> Reply<Evidence> {
    let read = regular::read(file, LONGEST as u64).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Failed,
        };
        Problem::new(kind, format!("read {}: {error}", file.display()))
    })?;
    let forbidden = |error: &(dyn std::error::Error + 'static)| {
        let mut found = Problem::from_error(Kind::Denied, error);
        found.message = format!("{}: {}", file.display(), found.message);
        found
    };
    let key = Key::parse(key).map_err(|error| Problem::from_error(Kind::Usage, &error))?;
    Bundle::verify(&String::from_utf8_lossy(&read), &key).map_err(|error| forbidden(&error))
}
