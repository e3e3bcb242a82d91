//! Passwords, keys, histories and tokens of people. Sources: shadow(5), sshd(8) AUTHORIZED_KEYS,
//! the FILES sections of the programs.
//!
//! People's accounts stay, and so do their password hashes: removing them may lock out whoever
//! made the template on purpose so. They are told as notices, and the proof finds them.

use super::Action::{Notice, Remove, Rewrite};
use super::{SealItem, row};
use crate::seal::rewrite::accounts;

pub(super) const ITEMS: &[SealItem] = &[
    row(
        "root-password",
        "root's password",
        &["/etc/shadow"],
        Rewrite(accounts::lock_root),
        "one password would open all clones; `*` leaves logging in with a key possible",
    )
    .secret(),
    row(
        "user-passwords",
        "passwords of other users",
        &["/etc/shadow"],
        Notice(
            Some(accounts::users_with_password),
            "lock them (passwd -l) or remove the users before sealing",
        ),
        "an account may be meant to be in every clone; only its author knows",
    ),
    row(
        "account-backups",
        "earlier copies of the account files",
        &[
            "/etc/passwd-",
            "/etc/shadow-",
            "/etc/group-",
            "/etc/gshadow-",
            "/etc/subuid-",
            "/etc/subgid-",
            "/etc/opasswd",
            "/etc/security/opasswd",
        ],
        Remove,
        "they hold hashes of passwords that were changed",
    ),
    row(
        "account-locks",
        "locks of the account files",
        &[
            "/etc/.pwd.lock",
            "/etc/passwd.lock",
            "/etc/shadow.lock",
            "/etc/group.lock",
            "/etc/gshadow.lock",
        ],
        Remove,
        "a stale lock stops the next change of an account",
    ),
    row(
        "authorized-keys",
        "public keys that may log in",
        &["~/.ssh/authorized_keys", "~/.ssh/authorized_keys2"],
        Remove,
        "the builder of the template could log in to every clone; each clone gets its own",
    ),
    row(
        "user-ssh-keys",
        "people's private ssh keys",
        &["~/.ssh/id_*", "~/.ssh/identity", "~/.ssh/identity.pub"],
        Remove,
        "they open other machines",
    )
    .secret(),
    row(
        "known-hosts",
        "machines that people logged in to",
        &["~/.ssh/known_hosts*"],
        Remove,
        "a map of the place where the template was made",
    ),
    row(
        "histories",
        "commands and files that people used",
        &[
            "~/.*_history",
            "~/.*_history-*.tmp",
            "~/.history",
            "~/.viminfo",
            "~/.lesshst",
            "~/.dbshell",
            "~/.wget-hsts",
            "~/.recently-used",
            "~/.sudo_as_admin_successful",
            "~/.local/share/nano/*",
            "~/.local/share/fish/fish_history",
            "~/.local/share/mc/history",
            "~/.local/share/recently-used.xbel",
            "~/.local/state/*/history*",
            "~/.local/state/lesshst",
            "~/.Xauthority",
            "~/.xsession-errors*",
        ],
        Remove,
        "they often hold passwords that were typed on a command line",
    ),
    row(
        "cloud-tokens",
        "tokens and passwords of command-line programs",
        &[
            "~/.aws/credentials",
            "~/.aws/sso/cache/*",
            "~/.aws/cli/cache/*",
            "~/.azure/msal_token_cache*",
            "~/.azure/accessTokens.json",
            "~/.azure/service_principal_entries*",
            "~/.config/gcloud/*",
            "~/.config/doctl/config.yaml",
            "~/.config/hcloud/cli.toml",
            "~/.config/gh/hosts.yml",
            "~/.config/glab-cli/config.yml",
            "~/.config/rclone/rclone.conf",
            "~/.config/containers/auth.json",
            "~/.docker/config.json",
            "~/.kube/config",
            "~/.kube/cache/*",
            "~/.netrc",
            "~/.git-credentials",
            "~/.config/git/credentials",
            "~/.vault-token",
            "~/.terraform.d/credentials.tfrc.json",
            "~/.npmrc",
            "~/.pypirc",
            "~/.gem/credentials",
            "~/.cargo/credentials*",
            "~/.m2/settings-security.xml",
            "~/.pgpass",
            "~/.my.cnf",
            "~/.mylogin.cnf",
            "~/.s3cfg",
            "~/.smbcredentials",
        ],
        Remove,
        "whoever has one clone could act for the person",
    )
    .secret(),
    row(
        "gnupg",
        "people's private GnuPG keys",
        &[
            "~/.gnupg/private-keys-v1.d/*",
            "~/.gnupg/secring.gpg",
            "~/.gnupg/random_seed",
            "~/.gnupg/openpgp-revocs.d/*",
        ],
        Remove,
        "whoever has one clone could sign for the person",
    )
    .secret(),
    row(
        "user-caches",
        "caches of people's programs",
        &["~/.cache/*", "~/.thumbnails/*"],
        Remove,
        "made again; they hold what was downloaded and looked at",
    ),
    row(
        "browser-profiles",
        "browser profiles",
        &[
            "~/.mozilla/firefox/*",
            "~/.config/chromium/*",
            "~/.config/google-chrome/*",
        ],
        Remove,
        "cookies and passwords of a person; a desktop template may bring settings in them",
    )
    .optional(),
];
