//! Where the running kernel's structures keep what the programs read, from its BTF.
//!
//! There is no CO-RE in Rust: offsets are looked up here and passed to the programs as globals. See the kernel's
//! Documentation/bpf/btf.rst for the format.

use std::{fs, path::Path, sync::OnceLock};

use btf_rs::{Btf, Type};
use observastack_abi::{syscall_error::FileOffsets, unit::CgroupOffsets};

/// Where the kernel shows its own BTF.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Why an offset is not known.
#[derive(Debug, thiserror::Error)]
pub enum OffsetError {
    /// The BTF could not be read or parsed.
    #[error(
        "cannot read the kernel's BTF at {path}: {source} (the kernel needs CONFIG_DEBUG_INFO_BTF=y)"
    )]
    Unreadable {
        /// The file.
        path: String,
        /// What the BTF crate says.
        source: btf_rs::Error,
    },
    /// The structure or its member is not there.
    #[error("the kernel's BTF has no member `{member}` in `struct {structure}`")]
    Missing {
        /// The structure's name.
        structure: &'static str,
        /// The member's name.
        member: &'static str,
    },
}

/// What the programs need to know.
#[derive(Debug)]
pub struct Offsets {
    /// For the unit table, without which there are no faults.
    pub cgroup: CgroupOffsets,
    /// For `syscall-error`.
    pub file: Result<FileOffsets, OffsetError>,
}

/// The running kernel's offsets, read once: they stay the same while it runs.
pub(crate) fn of_this_kernel() -> Result<&'static Offsets, OffsetError> {
    static KNOWN: OnceLock<Offsets> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known);
    }
    let offsets = read(Path::new(KERNEL_BTF))?;
    Ok(KNOWN.get_or_init(|| offsets))
}

/// Reads all offsets from the BTF file at `path`. Takes some tens of milliseconds.
pub fn read(path: &Path) -> Result<Offsets, OffsetError> {
    let btf = open(path).map_err(|source| OffsetError::Unreadable {
        path: path.display().to_string(),
        source,
    })?;
    Ok(Offsets {
        cgroup: cgroup_offsets(&btf)?,
        file: file_offsets(&btf),
    })
}

fn cgroup_offsets(btf: &Btf) -> Result<CgroupOffsets, OffsetError> {
    let offset = |structure, member| member_offset(btf, structure, member);
    Ok(CgroupOffsets {
        cgroup_kn: offset("cgroup", "kn")?,
        cgroup_root: offset("cgroup", "root")?,
        cgroup_self: offset("cgroup", "self")?,
        css_parent: offset("cgroup_subsys_state", "parent")?,
        root_hierarchy_id: offset("cgroup_root", "hierarchy_id")?,
        kernfs_id: offset("kernfs_node", "id")?,
        kernfs_name: offset("kernfs_node", "name")?,
        _reserved: 0,
    })
}

fn file_offsets(btf: &Btf) -> Result<FileOffsets, OffsetError> {
    let offset = |structure, member| member_offset(btf, structure, member);
    Ok(FileOffsets {
        file_inode: offset("file", "f_inode")?,
        file_path: offset("file", "f_path")?,
        path_dentry: offset("path", "dentry")?,
        dentry_parent: offset("dentry", "d_parent")?,
        dentry_inode: offset("dentry", "d_inode")?,
        inode_ino: offset("inode", "i_ino")?,
        inode_sb: offset("inode", "i_sb")?,
        inode_mode: offset("inode", "i_mode")?,
        sb_dev: offset("super_block", "s_dev")?,
        sb_magic: offset("super_block", "s_magic")?,
        socket_sk: offset("socket", "sk")?,
        sock_family: offset("sock_common", "skc_family")?,
        binprm_file: offset("linux_binprm", "file")?,
        _reserved: 0,
    })
}

/// Reads the file at once: the BTF crate's own reader makes a system call for each of 100,000 types.
fn open(path: &Path) -> Result<Btf, btf_rs::Error> {
    Btf::from_bytes(&fs::read(path)?)
}

/// The running kernel's BTF. Some ten megabytes while it is held.
pub(crate) fn open_kernel() -> Result<Btf, OffsetError> {
    open(Path::new(KERNEL_BTF)).map_err(|source| OffsetError::Unreadable {
        path: KERNEL_BTF.to_owned(),
        source,
    })
}

/// The offset in bytes of a member of a structure, also where it lies in an unnamed structure or union of it.
pub(crate) fn member_offset(
    btf: &Btf,
    structure: &'static str,
    member: &'static str,
) -> Result<u32, OffsetError> {
    let missing = || OffsetError::Missing { structure, member };
    let types = btf
        .resolve_types_by_name(structure)
        .map_err(|_| missing())?;
    let found = types.iter().find_map(|candidate| match candidate {
        Type::Struct(_) => offset_in(btf, candidate, member),
        _ => None,
    });
    found
        .filter(|bits| bits % 8 == 0)
        .map(|bits| bits / 8)
        .ok_or_else(missing)
}

/// The same in bits, in a type that may be a structure or a union.
fn offset_in(btf: &Btf, within: &Type, member: &str) -> Option<u32> {
    let (Type::Struct(definition) | Type::Union(definition)) = within else {
        return None;
    };
    definition.members.iter().find_map(|field| {
        let name = btf.resolve_name(field).unwrap_or_default();
        if name == member {
            return Some(field.bit_offset());
        }
        if !name.is_empty() {
            return None;
        }
        let inner = btf.resolve_chained_type(field).ok()?;
        Some(field.bit_offset() + offset_in(btf, &inner, member)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_tells_its_offsets() {
        let Offsets {
            cgroup: offsets,
            file,
        } = read(Path::new(KERNEL_BTF)).unwrap();
        // `self` is the first member on every kernel so far, and the others can't be at the same place.
        assert_ne!(offsets.cgroup_kn, offsets.cgroup_root);
        assert_ne!(offsets.kernfs_id, offsets.kernfs_name);
        assert!(offsets.css_parent > 0);
        let file = file.unwrap();
        assert_ne!(file.file_inode, file.file_path);
        assert_ne!(file.dentry_inode, file.dentry_parent);
    }

    #[test]
    fn a_missing_file_is_named_with_its_cure() {
        let error = read(Path::new("/nonexistent/btf")).unwrap_err().to_string();
        assert!(
            error.contains("/nonexistent/btf") && error.contains("CONFIG_DEBUG_INFO_BTF"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_member_is_named() {
        let btf = open(Path::new(KERNEL_BTF)).unwrap();
        let error = member_offset(&btf, "cgroup", "no_such_member")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no_such_member") && error.contains("struct cgroup"),
            "{error}"
        );
    }
}
