//! Caches, temporary files, queues and backups: what a clone does not need, and what may hold
//! copies of anything. Sources: file-hierarchy(7), debconf(7).

use super::Action::{Empty, Remove};
use super::{SealItem, row};

pub(super) const ITEMS: &[SealItem] = &[
    row(
        "temporary-files",
        "temporary files",
        &["/tmp/*", "/var/tmp/*"],
        Remove,
        "they may hold copies of anything",
    ),
    row(
        "account-spool-backups",
        "daily copies of accounts and package lists",
        &["/var/backups/*"],
        Remove,
        "they hold hashes of passwords that were changed; made again",
    ),
    row(
        "debconf-passwords",
        "passwords that packages asked for",
        &[
            "/var/cache/debconf/passwords.dat",
            "/var/cache/debconf/passwords.dat-old",
        ],
        Empty,
        "they hold passwords in clear text",
    )
    .secret(),
    row(
        "debconf-old",
        "earlier copies of package databases",
        &["/var/cache/debconf/*-old", "/var/lib/dpkg/*-old"],
        Remove,
        "made again at the next change",
    ),
    row(
        "package-caches",
        "downloaded packages",
        &[
            "/var/cache/apt/archives/*.deb",
            "/var/cache/apt/archives/partial/*",
            "/var/cache/apt/*.bin",
            "/var/cache/dnf/*",
            "/var/cache/libdnf5/*",
            "/var/cache/yum/*",
            "/var/cache/zypp/packages/*",
            "/var/cache/pacman/pkg/*",
            "/var/cache/apk/*",
            "/var/lib/snapd/cache/*",
        ],
        Remove,
        "space in every full clone; downloaded again when they are needed",
    ),
    row(
        "package-lists",
        "lists of packages that can be had",
        &["/var/lib/apt/lists/*_*", "/var/lib/apt/lists/partial/*"],
        Remove,
        "space, and old lists; but a clone without network cannot look for packages",
    )
    .optional(),
    row(
        "crash-dumps",
        "memory of programs that crashed",
        &[
            "/var/crash/*",
            "/var/lib/systemd/coredump/*",
            "/var/lib/systemd/pstore/*",
            "/var/spool/abrt/*",
            "/var/tmp/abrt/*",
            "/var/lib/kdump/*",
        ],
        Remove,
        "they may hold passwords and keys",
    ),
    row(
        "mail",
        "mail that was delivered in the template",
        &["/var/mail/*", "/var/spool/mail/*"],
        Remove,
        "it belongs to people of the template",
    ),
    row(
        "mail-queue",
        "mail that waits to be sent",
        &[
            "/var/spool/postfix/active/**",
            "/var/spool/postfix/bounce/**",
            "/var/spool/postfix/corrupt/**",
            "/var/spool/postfix/defer/**",
            "/var/spool/postfix/deferred/**",
            "/var/spool/postfix/hold/**",
            "/var/spool/postfix/incoming/**",
            "/var/spool/postfix/maildrop/*",
            "/var/spool/exim4/input/*",
            "/var/spool/exim4/msglog/*",
        ],
        Remove,
        "each clone would send it once more",
    ),
    row(
        "mail-state",
        "caches of the mail server",
        &["/var/lib/postfix/*"],
        Remove,
        "session keys and times of the template; made again",
    ),
    row(
        "at-jobs",
        "jobs that wait for their time",
        &[
            "/var/spool/cron/atjobs/*",
            "/var/spool/cron/atspool/*",
            "/var/spool/at/*",
        ],
        Remove,
        "each clone would run them once more",
    ),
    row(
        "print-jobs",
        "documents that wait for the printer",
        &["/var/spool/cups/*", "/var/cache/cups/*"],
        Remove,
        "each clone would print them once more",
    ),
    row(
        "crontabs",
        "people's crontabs",
        &["/var/spool/cron/crontabs/*", "/var/spool/cron/tabs/*"],
        Remove,
        "often part of what the template is for: removed only when asked for",
    )
    .optional(),
    row(
        "lost-and-found",
        "files that a filesystem check found",
        &["/lost+found/*"],
        Remove,
        "copies of files that were removed",
    ),
];
