//! When a pack is asked: what somebody is about to do with a version, and by which evidence it is
//! judged then. One table, which the guide has as well.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Something that is about to be done with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Point {
    /// A disk becomes a draft.
    Import,
    /// A draft's sealed copy becomes the version.
    Seal,
    /// A sealed version is handed in for approval.
    Submit,
    /// A version is published.
    Publish,
    /// A guest is made of a version.
    Clone,
    /// A version's memory image is made.
    Freeze,
    /// A version is retired or purged.
    Delete,
    /// Something of a version is given away.
    Export,
}

/// What is judged at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// The disk is read, and the report is recorded.
    AtTheDisk,
    /// What the newest report of these bytes read is judged, as of today. Without one, what is
    /// enforced is refused.
    AtTheRecord,
    /// The same; without a report the disk is read, and the report is recorded.
    AtTheRecordOrDisk,
}

impl Looks {
    /// In words, for the table of points.
    pub const fn as_str(self) -> &'static str {
        match self {
            Looks::AtTheDisk => "the disk, which is read anew",
            Looks::AtTheRecord => "the newest report's evidence; without one it is refused",
            Looks::AtTheRecordOrDisk => "the newest report's evidence; without one, the disk",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct PointRow {
    /// The point.
    pub point: Point,
    /// The commands that come to it.
    pub commands: &'static str,
    /// What is judged.
    pub looks: Looks,
    /// Whether a rule counts here when the pack does not say where.
    pub by_default: bool,
    /// What is so after a refusal.
    pub refused: &'static str,
}

const fn row(
    point: Point,
    commands: &'static str,
    looks: Looks,
    by_default: bool,
    refused: &'static str,
) -> PointRow {
    PointRow {
        point,
        commands,
        looks,
        by_default,
        refused,
    }
}

/// Every point.
pub const POINTS: [PointRow; 8] = [
    row(
        Point::Import,
        "`template import`, `template build`",
        Looks::AtTheDisk,
        false,
        "there is no version",
    ),
    row(
        Point::Seal,
        "`template seal`, the sealed copy",
        Looks::AtTheDisk,
        false,
        "the draft is as it was",
    ),
    row(
        Point::Submit,
        "`template submit`",
        Looks::AtTheDisk,
        true,
        "it stays as it was",
    ),
    row(
        Point::Publish,
        "`template publish`",
        Looks::AtTheDisk,
        true,
        "it stays as it was",
    ),
    row(
        Point::Clone,
        "`clone`, `run`, `pool`, and each of their plans",
        Looks::AtTheRecord,
        true,
        "nothing was reserved",
    ),
    row(
        Point::Freeze,
        "`template freeze`",
        Looks::AtTheRecordOrDisk,
        true,
        "there is no memory image",
    ),
    row(
        Point::Delete,
        "`template retire`, `template purge`, also by `gc`",
        Looks::AtTheRecordOrDisk,
        false,
        "it stays as it was",
    ),
    row(
        Point::Export,
        "`sbom`",
        Looks::AtTheRecordOrDisk,
        false,
        "nothing was written",
    ),
];

impl Point {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Point::Import => "import",
            Point::Seal => "seal",
            Point::Submit => "submit",
            Point::Publish => "publish",
            Point::Clone => "clone",
            Point::Freeze => "freeze",
            Point::Delete => "delete",
            Point::Export => "export",
        }
    }

    /// What is judged here.
    pub fn looks(self) -> Looks {
        let row = POINTS.iter().find(|row| row.point == self);
        row.map_or(Looks::AtTheDisk, |row| row.looks)
    }

    /// Where a rule counts when the pack does not say.
    pub fn by_default() -> BTreeSet<Point> {
        let rows = POINTS.iter().filter(|row| row.by_default);
        rows.map(|row| row.point).collect()
    }
}
