//! The units, read by the systemd of the VM's image as if the package were installed in it: that image has every program of the
//! distribution's that they start.

use anyhow::{Result, bail};

use crate::machine::image;
use crate::package;

/// `systemd-analyze verify` has to have nothing to say.
pub(super) fn check() -> Result<()> {
    let tree = package::tree()?;
    let image = image::vm()?;
    // The package's files over the image's, for this command alone; neither is changed.
    let said = image
        .overlaid(&tree, "sh")
        .args(["-c", "systemd-analyze verify --man=no $(ls /usr/lib/systemd/system/observastack* | sed 's/@\\./@1./') 2>&1"])
        .limit_s(120)
        .status()?;
    if said.status.success() && said.stdout.is_empty() {
        Ok(())
    } else {
        bail!("systemd-analyze verify:\n    {}", said.lines.join("\n    "))
    }
}
