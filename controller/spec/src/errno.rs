//! Error numbers by name.

use crate::FieldError;

macro_rules! errnos {
    ($($name:ident)*) => {
        /// Every name that Linux has for an error number on this machine's architecture (errno(3)).
        const ALL: &[(&str, i32)] = &[$((stringify!($name), libc::$name)),*];
    };
}

errnos! {
    EPERM
    ENOENT
    ESRCH
    EINTR
    EIO
    ENXIO
    E2BIG
    ENOEXEC
    EBADF
    ECHILD
    EAGAIN
    ENOMEM
    EACCES
    EFAULT
    ENOTBLK
    EBUSY
    EEXIST
    EXDEV
    ENODEV
    ENOTDIR
    EISDIR
    EINVAL
    ENFILE
    EMFILE
    ENOTTY
    ETXTBSY
    EFBIG
    ENOSPC
    ESPIPE
    EROFS
    EMLINK
    EPIPE
    EDOM
    ERANGE
    EDEADLOCK
    ENAMETOOLONG
    ENOLCK
    ENOSYS
    ENOTEMPTY
    ELOOP
    ENOMSG
    EIDRM
    ECHRNG
    EL2NSYNC
    EL3HLT
    EL3RST
    ELNRNG
    EUNATCH
    ENOCSI
    EL2HLT
    EBADE
    EBADR
    EXFULL
    ENOANO
    EBADRQC
    EBADSLT
    EBFONT
    ENOSTR
    ENODATA
    ETIME
    ENOSR
    ENONET
    ENOPKG
    EREMOTE
    ENOLINK
    EADV
    ESRMNT
    ECOMM
    EPROTO
    EMULTIHOP
    EDOTDOT
    EBADMSG
    EOVERFLOW
    ENOTUNIQ
    EBADFD
    EREMCHG
    ELIBACC
    ELIBBAD
    ELIBSCN
    ELIBMAX
    ELIBEXEC
    EILSEQ
    ERESTART
    ESTRPIPE
    EUSERS
    ENOTSOCK
    EDESTADDRREQ
    EMSGSIZE
    EPROTOTYPE
    ENOPROTOOPT
    EPROTONOSUPPORT
    ESOCKTNOSUPPORT
    EPFNOSUPPORT
    EAFNOSUPPORT
    EADDRINUSE
    EADDRNOTAVAIL
    ENETDOWN
    ENETUNREACH
    ENETRESET
    ECONNABORTED
    ECONNRESET
    ENOBUFS
    EISCONN
    ENOTCONN
    ESHUTDOWN
    ETOOMANYREFS
    ETIMEDOUT
    ECONNREFUSED
    EHOSTDOWN
    EHOSTUNREACH
    EALREADY
    EINPROGRESS
    ESTALE
    EUCLEAN
    ENOTNAM
    ENAVAIL
    EISNAM
    EREMOTEIO
    EDQUOT
    ENOMEDIUM
    EMEDIUMTYPE
    ECANCELED
    ENOKEY
    EKEYEXPIRED
    EKEYREVOKED
    EKEYREJECTED
    EOWNERDEAD
    ENOTRECOVERABLE
    ERFKILL
}

const ALLOWED: &str = "the name of a Linux error, such as ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL or EACCES";

/// The number of an error, from its name in any case.
pub fn parse(name: &str) -> Result<i32, FieldError> {
    let wanted = name.trim().to_ascii_uppercase();
    let found = ALL.iter().find(|(known, _)| *known == wanted);
    found
        .map(|(_, number)| *number)
        .ok_or_else(|| FieldError::new("errno", name, ALLOWED))
}

/// The name of an error, or its number where it has none.
pub fn display(number: i32) -> String {
    let found = ALL.iter().find(|(_, known)| *known == number);
    found.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!(parse("ECONNREFUSED").unwrap(), 111);
        assert_eq!(parse("etimedout").unwrap(), 110);
        assert_eq!(display(111), "ECONNREFUSED");
    }

    #[test]
    fn every_name_reads_back() {
        for (name, number) in ALL {
            assert_eq!(parse(name).unwrap(), *number);
            assert_eq!(display(*number), *name);
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_examples() {
        for name in ["EWHATEVER", "", "111", "-111"] {
            let error = parse(name).unwrap_err();
            assert_eq!(error.field, "errno");
            assert!(error.allowed.contains("ECONNREFUSED"));
        }
    }
}
