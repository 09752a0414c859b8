//! A unit gets a run-time property of systemd's: a CPU quota, a memory limit, a limit of tasks.
//!
//! Needs systemd as pid 1, its controllers on the unified hierarchy, and write access to `/run/systemd/system.control`.
//! Undone in two steps, because `daemon-reload` alone leaves a live cgroup as it is: the old value is set, then the
//! drop-in file that systemd wrote is replaced by the administrator's own, or removed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::check_name;
use crate::host::{change::ChangeError, command};

/// Where `systemctl set-property --runtime` keeps its drop-ins.
const CONTROL: &str = "/run/systemd/system.control";
/// Properties that can be set, and under which name systemd shows them.
const PROPERTIES: [(&str, &str); 4] = [
    ("CPUQuota", "CPUQuotaPerSecUSec"),
    ("MemoryMax", "MemoryMax"),
    ("MemorySwapMax", "MemorySwapMax"),
    ("TasksMax", "TasksMax"),
];

/// A run-time property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Property {
    /// The unit.
    pub unit: String,
    /// The property: `CPUQuota`, `MemoryMax`, `MemorySwapMax` or `TasksMax`.
    pub name: String,
    /// Its value in the words of `systemctl set-property`.
    pub value: String,
    /// What it was before, in the same words; found out when the change is journalled.
    #[serde(default)]
    before: String,
    /// The administrator's own run-time drop-in, if there was one.
    #[serde(default)]
    dropin: Option<String>,
}

impl Property {
    /// The property of a unit. What it was before is found out when the change is journalled.
    #[must_use]
    pub fn new(unit: impl Into<String>, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            unit: unit.into(),
            name: name.into(),
            value: value.into(),
            before: String::new(),
            dropin: None,
        }
    }

    pub(crate) fn prepare(mut self) -> Result<Self, ChangeError> {
        check_name("unit", &self.unit, 255)?;
        let Some((_, shown)) = PROPERTIES.iter().find(|(name, _)| *name == self.name) else {
            return Err(ChangeError::refused(
                "property",
                &self.name,
                "CPUQuota, MemoryMax, MemorySwapMax or TasksMax",
            ));
        };
        if self.value.is_empty() || self.value.contains(['\n', '=']) {
            return Err(ChangeError::refused("value", &self.value, "a single value"));
        }
        let property = format!("--property={shown}");
        let text = command::run(
            "systemctl",
            &["show", &property, "--value", "--", &self.unit],
        )?;
        let before = if self.name == "CPUQuota" {
            quota(text.trim())
        } else {
            Some(text.trim().to_owned()).filter(|value| !value.is_empty())
        };
        self.before = before.ok_or_else(|| {
            ChangeError::refused(
                "property",
                &self.name,
                format!("systemd shows {text:?} for it"),
            )
        })?;
        let path = self.dropin_path(Path::new(CONTROL));
        self.dropin = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(ChangeError::io("read", path)(error)),
        };
        Ok(self)
    }

    fn dropin_path(&self, control: &Path) -> PathBuf {
        control
            .join(format!("{}.d", self.unit))
            .join(format!("50-{}.conf", self.name))
    }

    /// Sets the property until the next boot.
    pub fn apply(&self) -> Result<(), ChangeError> {
        self.set(&self.value)
    }

    /// Gives the value and the drop-in file back that were there before.
    pub fn revert(&self) -> Result<(), ChangeError> {
        match self.set(&self.before) {
            // The unit was removed; its drop-in may still be there.
            Err(ChangeError::Command(error)) if error.says(&["not found", "not loaded"]) => {}
            result => result?,
        }
        give_back(
            &self.dropin_path(Path::new(CONTROL)),
            self.dropin.as_deref(),
        )?;
        command::run("systemctl", &["daemon-reload"])?;
        Ok(())
    }

    fn set(&self, value: &str) -> Result<(), ChangeError> {
        let assignment = format!("{}={value}", self.name);
        command::run(
            "systemctl",
            &["set-property", "--runtime", "--", &self.unit, &assignment],
        )?;
        Ok(())
    }
}

/// Writes the saved drop-in, or removes ours with the directory that only it was in.
fn give_back(path: &Path, saved: Option<&str>) -> Result<(), ChangeError> {
    if let Some(text) = saved {
        return fs::write(path, text).map_err(ChangeError::io("restore", path));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(ChangeError::io("remove", path)(error));
        }
        _ => {}
    }
    if let Some(directory) = path.parent() {
        // It stays where other drop-ins are in it.
        let _ = fs::remove_dir(directory);
    }
    Ok(())
}

/// `CPUQuotaPerSecUSec` (`infinity`, `500ms`, `1.500000s`, `1min 30s`) in the words of `CPUQuota=`: nothing, or percent.
fn quota(shown: &str) -> Option<String> {
    if shown == "infinity" {
        return Some(String::new());
    }
    let mut microseconds = 0.0;
    for part in shown.split_whitespace() {
        let unit = part.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = part.split_at(unit);
        let scale = match unit {
            "us" => 1.0,
            "ms" => 1e3,
            "s" => 1e6,
            "min" => 60e6,
            "h" => 3600e6,
            _ => return None,
        };
        microseconds += number.parse::<f64>().ok()? * scale;
    }
    // systemd reads hundredths of a percent.
    let hundredths = (microseconds / 100.0).round() as u64;
    (hundredths > 0).then(|| format!("{}.{:02}%", hundredths / 100, hundredths % 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_comes_back_as_it_was() {
        assert_eq!(quota("infinity").unwrap(), "");
        assert_eq!(quota("500ms").unwrap(), "50.00%");
        assert_eq!(quota("1.500000s").unwrap(), "150.00%");
        assert_eq!(quota("1s 500ms").unwrap(), "150.00%");
        assert_eq!(quota("333.300ms").unwrap(), "33.33%");
        assert_eq!(quota("1min 4s").unwrap(), "6400.00%");
        assert_eq!(quota(""), None);
        assert_eq!(quota("much"), None);
    }

    #[test]
    fn a_drop_in_of_the_administrators_is_restored_and_ours_is_removed() {
        let control = tempfile::tempdir().unwrap();
        let property = Property::new("shop.service", "CPUQuota", "20%");
        let path = property.dropin_path(control.path());
        assert!(path.ends_with("shop.service.d/50-CPUQuota.conf"));
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, "ours").unwrap();
        give_back(&path, Some("theirs")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        let other = path.with_file_name("50-MemoryMax.conf");
        fs::write(&other, "theirs too").unwrap();
        give_back(&path, None).unwrap();
        assert!(!path.exists() && other.exists());
        fs::remove_file(&other).unwrap();
        give_back(&path, None).unwrap();
        assert!(!path.parent().unwrap().exists());
        give_back(&path, None).unwrap();
    }

    #[test]
    fn other_properties_and_values_are_refused_by_name() {
        let error = Property::new("shop.service", "ExecStart", "x")
            .prepare()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("ExecStart") && error.contains("TasksMax"),
            "{error}"
        );
        let error = Property::new("shop.service", "TasksMax", "1\nUser=root")
            .prepare()
            .unwrap_err()
            .to_string();
        assert!(error.contains("value"), "{error}");
    }
}
