//! Exceptions of the catalog: findings that somebody accepted until a day.

use super::json;
use crate::engine::Engine;
use crate::error::EngineError;
use stampo_policy::Exception;
use stampo_policy::exception::RawException;
use stampo_store::{PolicyExceptionRow, Tx};

impl Engine {
    /// Records an exception.
    pub fn policy_accept(&self, raw: RawException) -> Result<PolicyExceptionRow, EngineError> {
        let act = format!("accept findings of {}", raw.check);
        let exception = Exception::try_from(raw).map_err(|error| EngineError::Usage {
            act: act.clone(),
            why: error.to_string(),
        })?;
        if !exception.counts_at(self.now_ms() / 1000) {
            let why = "it would have ended before it begins".to_owned();
            return Err(EngineError::Usage { act, why });
        }
        let row = PolicyExceptionRow {
            id: uuid::Uuid::from_bytes(Self::random16())
                .simple()
                .to_string(),
            exception: json(&exception)?,
            actor: self.settings.actor.clone(),
            created_ms: self.now_ms(),
        };
        self.store.write_durably(|tx| {
            tx.insert_policy_exception(&row)?;
            let detail = exception.in_words();
            self.audit(tx, "policy accept", exception.check(), &detail)?;
            Ok::<_, EngineError>(())
        })?;
        Ok(row)
    }

    /// Takes an exception back.
    pub fn policy_unaccept(&self, id: &str) -> Result<(), EngineError> {
        self.store.write_durably(|tx| {
            if tx.delete_policy_exception(id)? == 0 {
                return Err(EngineError::NotFound {
                    what: "exception",
                    name: id.to_owned(),
                });
            }
            self.audit(tx, "policy unaccept", id, "")?;
            Ok(())
        })
    }

    /// Every exception.
    pub fn policy_exceptions(&self) -> Result<Vec<PolicyExceptionRow>, EngineError> {
        Ok(self.store.read(|tx| tx.policy_exceptions())?)
    }
}

/// The exceptions of the catalog. A row that is not as it was written accepts nothing, and since it
/// could be any of them, none does.
pub(crate) fn counting_exceptions(tx: &Tx<'_>) -> Result<Vec<Exception>, EngineError> {
    if tx.has_damage("policy_exceptions", None)? {
        return Ok(Vec::new());
    }
    let rows = tx.policy_exceptions()?;
    let read = |row: PolicyExceptionRow| serde_json::from_value(row.exception);
    let exceptions = rows
        .into_iter()
        .map(read)
        .collect::<Result<Vec<Exception>, _>>();
    exceptions.map_err(EngineError::room("read the exceptions"))
}
