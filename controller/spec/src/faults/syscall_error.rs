//! `syscall-error`: kinds of system calls fail.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, words};
use crate::{Call, Errno, FieldError, FileKind, FileSystem, SocketFamily};

/// The most kinds of calls at once.
const MOST: usize = 16;

/// The longest path, in bytes, without its end.
const LONGEST_PATH: usize = 4095;

/// Some of the unit's system calls fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyscallError {
    /// Which calls, 1 to 16 different ones.
    pub calls: Vec<Call>,
    /// The error that they fail with.
    pub errno: Errno,
    /// Only files at or below this absolute path, at most 4095 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Only files on this kind of file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FileSystem>,
    /// Only files of this kind; see [`SyscallError::file_kind`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FileKind>,
    /// Only sockets of this family; see [`SyscallError::socket_family`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sockets: Option<SocketFamily>,
}

impl SyscallError {
    /// The kind of files that a call is faulted on: at read and write regular ones unless asked otherwise, so that
    /// "files" never means pipes by accident.
    pub fn file_kind(&self, call: Call) -> FileKind {
        match (self.files, call) {
            (Some(kind), _) => kind,
            (None, Call::Read | Call::Write) => FileKind::Regular,
            (None, _) => FileKind::Any,
        }
    }

    /// The family of the sockets that calls are faulted on: IPv4 and IPv6 unless asked otherwise.
    pub fn socket_family(&self) -> SocketFamily {
        self.sockets.unwrap_or(SocketFamily::Inet)
    }

    fn check_calls(&self, errors: &mut Vec<FieldError>) {
        let shown = || list(&self.calls);
        if self.calls.is_empty() || self.calls.len() > MOST {
            errors.push(FieldError::new(
                "calls",
                shown(),
                format!("1 to {MOST} of {}", list(Call::ALL)),
            ));
        }
        let repeated = |(at, call): (usize, &Call)| self.calls[..at].contains(call);
        if self.calls.iter().enumerate().any(repeated) {
            errors.push(FieldError::new("calls", shown(), "each call once"));
        }
    }

    /// A filter must fit every call: one that is silently not asked of some calls would fault more than was meant.
    fn check_fits(
        &self,
        field: &str,
        given: Option<String>,
        fits: fn(Call) -> bool,
        errors: &mut Vec<FieldError>,
    ) {
        let Some(given) = given else { return };
        if !self.calls.iter().all(|call| fits(*call)) {
            let fitting: Vec<_> = Call::ALL
                .iter()
                .copied()
                .filter(|call| fits(*call))
                .collect();
            errors.push(FieldError::new(
                field,
                given,
                format!("it only with calls among {}", list(&fitting)),
            ));
        }
    }
}

fn list(calls: &[Call]) -> String {
    let names: Vec<_> = calls.iter().map(|call| call.name()).collect();
    names.join(", ")
}

impl Parameters for SyscallError {
    const KIND: &'static str = "syscall-error";

    fn uses(&self) -> Uses {
        Uses::events("")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        self.check_calls(errors);
        if let Some(path) = &self.path {
            let sound = path.starts_with('/') && path.len() <= LONGEST_PATH && !path.contains('\0');
            // As it is compared with what the kernel resolved, a path with these never matches.
            let straight = !path.split('/').any(|part| part == "." || part == "..");
            if !sound || !straight {
                let allowed = "an absolute path of at most 4095 bytes without . and .. in it, such as /var/lib/shop";
                errors.push(FieldError::new("path", path, allowed));
            }
        }
        self.check_fits("path", self.path.clone(), Call::is_on_files, errors);
        let filesystem = self.filesystem.map(|filesystem| filesystem.to_string());
        self.check_fits("filesystem", filesystem, Call::is_on_files, errors);
        let files = self.files.map(|files| files.to_string());
        self.check_fits("files", files, Call::has_file_kind, errors);
        let sockets = self.sockets.map(|sockets| sockets.to_string());
        self.check_fits("sockets", sockets, Call::is_on_sockets, errors);
    }

    fn describe(&self) -> String {
        words([
            Some(list(&self.calls).replace(", ", ",")),
            Some(self.errno.to_string()),
            self.path.clone(),
            self.filesystem.map(|filesystem| format!("on {filesystem}")),
            self.files.map(|files| format!("files {files}")),
            self.sockets.map(|sockets| format!("sockets {sockets}")),
        ])
    }
}
