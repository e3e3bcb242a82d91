//! Which items of the table are applied.

use super::agent;
use super::firstboot;
use super::items::{Area, SealItem, items};
use super::pattern;

/// What a user chose. Items are named by id or by area; the default is every row that is not
/// optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// Only these; empty means all that are not optional.
    pub only: Vec<String>,
    /// Not these; wins over everything else.
    pub except: Vec<String>,
    /// Optional ones as well.
    pub also: Vec<String>,
    /// Paths or patterns that no item may touch, nor anything below them.
    pub keep: Vec<String>,
}

/// Why a selection makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A name that is neither an item's nor an area's.
    #[error("find the seal item {name:?}{}", .near.map(|near| format!(" (do you mean {near:?}?)")).unwrap_or_default())]
    UnknownItem {
        /// What was written.
        name: String,
        /// The nearest name that exists.
        near: Option<&'static str>,
    },
    /// A path to keep that is not absolute.
    #[error("keep {path:?}: write an absolute path of the guest")]
    RelativePath {
        /// What was written.
        path: String,
    },
}

impl Selection {
    /// Checks every name and path.
    pub fn check(&self) -> Result<(), SelectionError> {
        for name in self.only.iter().chain(&self.except).chain(&self.also) {
            if !names().any(|known| known == name) {
                return Err(SelectionError::UnknownItem {
                    name: name.clone(),
                    near: nearest(name),
                });
            }
        }
        match self
            .keep
            .iter()
            .find(|path| !path.starts_with('/') || path.contains("/../"))
        {
            Some(path) => Err(SelectionError::RelativePath { path: path.clone() }),
            None => Ok(()),
        }
    }

    /// Whether a row is applied.
    pub(super) fn takes(&self, area: Area, item: &SealItem) -> bool {
        let named = |list: &[String]| {
            list.iter()
                .any(|name| name == item.id || name == area.name())
        };
        if named(&self.except) {
            return false;
        }
        let asked = named(&self.also) || self.only.iter().any(|name| name == item.id);
        if item.optional {
            return asked;
        }
        self.only.is_empty() || named(&self.only) || asked
    }

    /// Whether the row of this id is applied.
    pub(super) fn takes_id(&self, id: &str) -> bool {
        items().any(|(area, item)| item.id == id && self.takes(area, item))
    }

    /// Whether the first-boot unit may be written.
    pub(super) fn takes_first_boot(&self) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == firstboot::ITEM);
        !named(&self.except)
    }

    /// Whether the guest agent may be installed.
    pub(super) fn takes_agent(&self) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == agent::ITEM);
        let chosen = self.only.is_empty() || named(&self.only) || named(&self.also);
        chosen && !named(&self.except)
    }

    /// Whether this path, or a directory that it is in, is to be kept.
    pub(super) fn keeps(&self, path: &str) -> bool {
        self.keep.iter().any(|kept| covers(kept, path))
    }

    /// Whether something below this path is to be kept, so that it can't go as a whole.
    pub(super) fn keeps_below(&self, path: &str) -> bool {
        let depth = path.matches('/').count();
        self.keep.iter().any(|kept| {
            let components: Vec<&str> = kept.split('/').collect();
            components.len() > depth + 1 && covers(&components[..=depth].join("/"), path)
        })
    }
}

/// Whether `path` is what `kept` matches, or below it.
fn covers(kept: &str, path: &str) -> bool {
    let mut path = path.split('/');
    kept.trim_end_matches('/').split('/').all(|pattern| {
        path.next()
            .is_some_and(|name| pattern::matches(pattern.as_bytes(), name.as_bytes()))
    })
}

/// Every name that a selection may use.
fn names() -> impl Iterator<Item = &'static str> {
    let rows = items().flat_map(|(area, item)| [area.name(), item.id]);
    rows.chain([firstboot::ITEM, agent::ITEM])
}

/// The name with the most pairs of letters in common, if they are most of it.
fn nearest(name: &str) -> Option<&'static str> {
    let pairs =
        |text: &str| -> Vec<[u8; 2]> { text.as_bytes().windows(2).map(|w| [w[0], w[1]]).collect() };
    let wanted = pairs(name);
    let score = |known: &str| {
        let have = pairs(known);
        let common = wanted.iter().filter(|pair| have.contains(pair)).count();
        2 * common * 100 / (wanted.len() + have.len()).max(1)
    };
    names()
        .max_by_key(|known| score(known))
        .filter(|known| score(known) >= 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(selection: &Selection) -> Vec<&'static str> {
        items()
            .filter(|(area, item)| selection.takes(*area, item))
            .map(|(_, item)| item.id)
            .collect()
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn ids_and_areas() {
        let all = chosen(&Selection::default());
        assert!(all.contains(&"machine-id") && !all.contains(&"crontabs"));
        let only = Selection {
            only: list(&["machine-id", "logs"]),
            ..Selection::default()
        };
        let chosen_ids = chosen(&only);
        assert!(chosen_ids.contains(&"journal") && chosen_ids.contains(&"machine-id"));
        assert!(!chosen_ids.contains(&"hostname"));
        let except = Selection {
            except: list(&["logs", "hosts"]),
            ..Selection::default()
        };
        assert!(!chosen(&except).contains(&"journal") && !chosen(&except).contains(&"hosts"));
        let also = Selection {
            also: list(&["crontabs"]),
            ..Selection::default()
        };
        assert!(chosen(&also).contains(&"crontabs"));
        assert_eq!(chosen(&also).len(), all.len() + 1);
    }

    #[test]
    fn names_that_do_not_exist_are_refused_with_a_hint() {
        let wrong = Selection {
            except: list(&["machineid"]),
            ..Selection::default()
        };
        let error = wrong.check().expect_err("no such item").to_string();
        assert!(error.contains("machine-id"), "{error}");
        let wrong = Selection {
            keep: list(&["etc/x"]),
            ..Selection::default()
        };
        assert!(wrong.check().is_err());
    }

    #[test]
    fn kept_paths_cover_what_is_below_them() {
        let selection = Selection {
            keep: list(&["/home/*/.ssh", "/var/lib/cloud/seed/mine"]),
            ..Selection::default()
        };
        assert!(
            selection.keeps("/home/ann/.ssh/authorized_keys") && selection.keeps("/home/ann/.ssh")
        );
        assert!(!selection.keeps("/home/ann/.sshx") && !selection.keeps("/home/ann"));
        assert!(
            selection.keeps_below("/var/lib/cloud")
                && !selection.keeps_below("/var/lib/cloud/seed/mine")
        );
        assert!(!selection.keeps_below("/var/lib/dhcp"));
    }
}
