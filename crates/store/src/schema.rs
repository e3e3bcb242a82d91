//! The tables, and the steps from each schema version to the next.
//!
//! Steps are only ever added. The SQL keeps to what SQLite and PostgreSQL share: numbered
//! parameters, integers for times (milliseconds since 1970), text for ids and JSON.

/// One step of the schema: its SQL, run in one transaction.
pub const STEPS: &[&str] = &[V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11];

const V1: &str = "
CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE templates (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL
);
CREATE TABLE versions (
    id TEXT PRIMARY KEY,
    template_id TEXT NOT NULL REFERENCES templates (id),
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    image_id TEXT,
    virtual_bytes INTEGER NOT NULL DEFAULT 0,
    data_bytes INTEGER NOT NULL DEFAULT 0,
    hardware TEXT NOT NULL,
    origin TEXT NOT NULL,
    proof TEXT,
    operation_id TEXT,
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    verified_ms INTEGER,
    UNIQUE (template_id, number)
);
CREATE INDEX versions_image ON versions (image_id);
CREATE TABLE exceptions (
    version_id TEXT NOT NULL REFERENCES versions (id),
    finding TEXT NOT NULL,
    path TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (version_id, finding, path)
);
CREATE TABLE guests (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    version_id TEXT NOT NULL REFERENCES versions (id),
    image_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    operation_id TEXT,
    plan TEXT NOT NULL,
    host_keys TEXT NOT NULL DEFAULT '[]',
    error TEXT,
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    keep_until_ms INTEGER
);
CREATE INDEX guests_image ON guests (image_id, kind);
CREATE INDEX guests_operation ON guests (operation_id);
CREATE TABLE nics (
    guest_id TEXT NOT NULL REFERENCES guests (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    mac TEXT NOT NULL UNIQUE,
    ssh_port INTEGER UNIQUE,
    address TEXT UNIQUE,
    PRIMARY KEY (guest_id, position)
);
CREATE TABLE facts (
    guest_id TEXT NOT NULL REFERENCES guests (id) ON DELETE CASCADE,
    item TEXT NOT NULL,
    location TEXT NOT NULL,
    state TEXT NOT NULL,
    hash TEXT,
    detail TEXT,
    PRIMARY KEY (guest_id, item, location)
);
CREATE INDEX facts_hash ON facts (item, hash);
CREATE TABLE operations (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    cancel INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    lease_until_ms INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER
);
CREATE INDEX operations_state ON operations (state);
CREATE TABLE events (
    operation_id TEXT NOT NULL REFERENCES operations (id),
    sequence INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    subject TEXT NOT NULL,
    phase TEXT NOT NULL,
    detail TEXT NOT NULL,
    duration_ms INTEGER,
    PRIMARY KEY (operation_id, sequence)
);
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL
);
";

/// The host name that a renamed guest still has inside, so that no new guest is given it.
const V2: &str = "
CREATE TABLE host_names (
    guest_id TEXT PRIMARY KEY REFERENCES guests (id) ON DELETE CASCADE,
    name TEXT NOT NULL
);
";

/// When images were scrubbed, and a place for every row's checksum; see `sums.rs`, which makes the
/// triggers that keep them.
const V3: &str = "
CREATE TABLE scrubs (
    image_id TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL
);
ALTER TABLE settings ADD COLUMN row_sum INTEGER;
ALTER TABLE templates ADD COLUMN row_sum INTEGER;
ALTER TABLE versions ADD COLUMN row_sum INTEGER;
ALTER TABLE exceptions ADD COLUMN row_sum INTEGER;
ALTER TABLE guests ADD COLUMN row_sum INTEGER;
ALTER TABLE nics ADD COLUMN row_sum INTEGER;
ALTER TABLE facts ADD COLUMN row_sum INTEGER;
ALTER TABLE operations ADD COLUMN row_sum INTEGER;
ALTER TABLE events ADD COLUMN row_sum INTEGER;
ALTER TABLE audit ADD COLUMN row_sum INTEGER;
ALTER TABLE host_names ADD COLUMN row_sum INTEGER;
ALTER TABLE scrubs ADD COLUMN row_sum INTEGER;
";

/// Counting the guests of a version must not read every guest.
const V4: &str = "CREATE INDEX guests_version ON guests (version_id);";

/// Pools and leases. Of the guests few are pooled at any time, and those are looked for often.
const V5: &str = "
CREATE TABLE pools (
    name TEXT PRIMARY KEY,
    reference TEXT NOT NULL,
    warm INTEGER NOT NULL,
    depth TEXT NOT NULL,
    spec TEXT NOT NULL,
    generation INTEGER NOT NULL,
    next_member INTEGER NOT NULL,
    error TEXT,
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    row_sum INTEGER
);
CREATE TABLE leases (
    guest_id TEXT PRIMARY KEY REFERENCES guests (id) ON DELETE CASCADE,
    until_ms INTEGER NOT NULL,
    span_s INTEGER NOT NULL,
    warned INTEGER NOT NULL,
    ending TEXT NOT NULL,
    tied_to TEXT,
    row_sum INTEGER
);
CREATE INDEX guests_pooled ON guests (state) WHERE state = 'pooled';
";

/// Pointers from a name to a version.
const V6: &str = "
CREATE TABLE channels (
    template_id TEXT NOT NULL REFERENCES templates (id),
    name TEXT NOT NULL,
    version_id TEXT NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
    moved_ms INTEGER NOT NULL,
    row_sum INTEGER,
    PRIMARY KEY (template_id, name)
);
";

/// What is recorded of a version besides its state, when its next date comes, and where channels
/// pointed. Versions are named by number in a channel's history, which outlives them.
const V7: &str = "
ALTER TABLE versions ADD COLUMN governance TEXT NOT NULL DEFAULT '{}';
ALTER TABLE versions ADD COLUMN due_ms INTEGER;
CREATE INDEX versions_due ON versions (due_ms) WHERE due_ms IS NOT NULL;
CREATE TABLE channel_moves (
    template_id TEXT NOT NULL REFERENCES templates (id),
    channel TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    from_number INTEGER,
    to_number INTEGER,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    row_sum INTEGER,
    PRIMARY KEY (template_id, channel, sequence)
);
";

/// What was judged, by which rules, with which result; and accepted findings of checks.
const V8: &str = "
CREATE TABLE policy_inputs (
    digest TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    row_sum INTEGER
);
CREATE TABLE policy_reports (
    id TEXT PRIMARY KEY,
    version_id TEXT NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
    subject TEXT NOT NULL,
    image_id TEXT NOT NULL,
    at_s INTEGER NOT NULL,
    pack TEXT NOT NULL,
    evidence TEXT NOT NULL,
    exceptions TEXT NOT NULL,
    digest TEXT NOT NULL,
    verdict TEXT NOT NULL,
    refused INTEGER NOT NULL,
    report TEXT NOT NULL,
    actor TEXT NOT NULL,
    row_sum INTEGER
);
CREATE INDEX policy_reports_version ON policy_reports (version_id, at_s);
CREATE TABLE policy_exceptions (
    id TEXT PRIMARY KEY,
    exception TEXT NOT NULL,
    actor TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    row_sum INTEGER
);
";

/// What people said about versions, as they signed it. Who made a version is asked of the audit.
const V9: &str = "
CREATE TABLE approvals (
    id TEXT PRIMARY KEY,
    version_id TEXT NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    statement TEXT NOT NULL,
    signature TEXT NOT NULL,
    public_key TEXT NOT NULL,
    report TEXT NOT NULL,
    provenance TEXT NOT NULL,
    actor TEXT NOT NULL,
    row_sum INTEGER
);
CREATE INDEX approvals_version ON approvals (version_id);
CREATE INDEX audit_resource ON audit (resource);
";

/// Decisions by a site's pack, which can be made again at any time.
const V10: &str = "
CREATE TABLE policy_decisions (
    key TEXT PRIMARY KEY,
    day_s INTEGER NOT NULL,
    decision TEXT NOT NULL,
    row_sum INTEGER
);
CREATE INDEX policy_decisions_day ON policy_decisions (day_s);
";

/// What ties each record of the audit to the one before it, and signed checkpoints.
const V11: &str = "
ALTER TABLE audit ADD COLUMN link TEXT NOT NULL DEFAULT '';
CREATE TABLE audit_checkpoints (
    sequence INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    body TEXT NOT NULL,
    signature TEXT NOT NULL,
    public_key TEXT NOT NULL,
    row_sum INTEGER
);
";
