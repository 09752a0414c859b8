//! Where the running kernel's structures keep what the programs read, from its BTF.
//!
//! There is no CO-RE in Rust: offsets are looked up here and passed to the programs as globals. See the kernel's
//! Documentation/bpf/btf.rst for the format.

use std::{fs, path::Path};

use btf_rs::{Btf, Type};
use observastack_abi::unit::CgroupOffsets;

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

/// Reads the offsets of the cgroup structures from the BTF file at `path`. Takes some tens of milliseconds.
pub fn cgroup_offsets(path: &Path) -> Result<CgroupOffsets, OffsetError> {
    let btf = read(path).map_err(|source| OffsetError::Unreadable {
        path: path.display().to_string(),
        source,
    })?;
    let offset = |structure, member| member_offset(&btf, structure, member);
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

/// Reads the file at once: the BTF crate's own reader makes a system call for each of 100,000 types.
fn read(path: &Path) -> Result<Btf, btf_rs::Error> {
    Btf::from_bytes(&fs::read(path)?)
}

/// The offset in bytes of a direct member of a structure.
fn member_offset(
    btf: &Btf,
    structure: &'static str,
    member: &'static str,
) -> Result<u32, OffsetError> {
    let missing = || OffsetError::Missing { structure, member };
    let types = btf
        .resolve_types_by_name(structure)
        .map_err(|_| missing())?;
    for candidate in types {
        let Type::Struct(definition) = candidate else {
            continue;
        };
        for field in &definition.members {
            if btf.resolve_name(field).is_ok_and(|name| name == member)
                && field.bit_offset() % 8 == 0
            {
                return Ok(field.bit_offset() / 8);
            }
        }
    }
    Err(missing())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_tells_its_offsets() {
        let offsets = cgroup_offsets(Path::new(KERNEL_BTF)).unwrap();
        // `self` is the first member on every kernel so far, and the others can't be at the same place.
        assert_ne!(offsets.cgroup_kn, offsets.cgroup_root);
        assert_ne!(offsets.kernfs_id, offsets.kernfs_name);
        assert!(offsets.css_parent > 0);
    }

    #[test]
    fn a_missing_file_is_named_with_its_cure() {
        let error = cgroup_offsets(Path::new("/nonexistent/btf"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/nonexistent/btf") && error.contains("CONFIG_DEBUG_INFO_BTF"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_member_is_named() {
        let btf = read(Path::new(KERNEL_BTF)).unwrap();
        let error = member_offset(&btf, "cgroup", "no_such_member")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no_such_member") && error.contains("struct cgroup"),
            "{error}"
        );
    }
}
