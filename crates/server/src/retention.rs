//! The API's part about retention, over an engine in this process.

use crate::local::Local;
use crate::problem::problem;
use stampo_api::{Reply, RetainedVersion, RetentionApi, RetentionReport};
use stampo_engine::Retained;

impl RetentionApi for Local {
    fn retention(&self) -> Reply<Option<String>> {
        let settings = self.engine.retention().map_err(|error| problem(&error))?;
        Ok(settings.map(|settings| settings.text))
    }

    fn set_retention(&self, text: Option<&str>) -> Reply<()> {
        let set = self.engine.set_retention(text);
        set.map(drop).map_err(self.refuse("retention set", "site"))
    }

    fn apply_retention(&self, apply: bool) -> Reply<RetentionReport> {
        let versions = if apply {
            let done = self.engine.apply_retention();
            done.map_err(self.refuse("retention apply", "site"))?
        } else {
            let plan = self.engine.retention_plan();
            plan.map_err(|error| problem(&error))?
        };
        Ok(RetentionReport {
            applied: apply,
            versions: versions.into_iter().map(wire).collect(),
        })
    }
}

fn wire(one: Retained) -> RetainedVersion {
    RetainedVersion {
        version: one.label,
        state: one.state.to_string(),
        what: one.fate.what().to_owned(),
        why: one.fate.why(),
        failed: one.failed,
    }
}
