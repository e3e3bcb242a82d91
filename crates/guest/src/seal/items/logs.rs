//! Logs. The directories and the empty files stay with their owners and modes, because many
//! programs do not make them again. Sources: systemd-journald.service(8) FILES, utmp(5), lastlog(8).

use super::Action::{Empty, Remove};
use super::{SealItem, row};

pub(super) const ITEMS: &[SealItem] = &[
    row(
        "journal",
        "the systemd journal",
        &["/var/log/journal/*"],
        Remove,
        "it is filed under the template's machine-id, so that no clone would ever clean it up",
    ),
    row(
        "login-databases",
        "who logged in, in the newer databases",
        &["/var/lib/wtmpdb/wtmp.db", "/var/lib/lastlog/lastlog2.db"],
        Remove,
        "names and addresses of people; made again",
    ),
    row(
        "rotated-logs",
        "logs that were put aside",
        &[
            "/var/log/**/*.gz",
            "/var/log/**/*.xz",
            "/var/log/**/*.bz2",
            "/var/log/**/*.zst",
            "/var/log/**/*.old",
            "/var/log/**/*.[0-9]",
            "/var/log/**/*.[0-9][0-9]",
            "/var/log/**/*-20[0-9][0-9][0-9][0-9][0-9][0-9]",
        ],
        Remove,
        "names, addresses and sometimes passwords",
    ),
    row(
        "logs",
        "logs, with wtmp, btmp, lastlog and the audit log",
        &["/var/log/**"],
        Empty,
        "names, addresses and sometimes passwords; the empty files keep their owners and modes",
    ),
    row(
        "service-logs",
        "logs outside of /var/log",
        &[
            "/var/lib/docker/containers/*/*-json.log",
            "/var/lib/docker/containers/*/*-json.log.[0-9]",
        ],
        Empty,
        "output of containers of the template",
    ),
];
