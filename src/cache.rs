//! Choices that were measured once, kept for later starts: one JSON file, a line a choice.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::plan::Form;

/// The environment variable that names the cache's folder.
pub const FOLDER: &str = "PYDARTS_CACHE_DIR";

/// Measured forms of one setting: a device, versions, element type and batch.
#[derive(Debug)]
pub struct FormCache {
    path: Option<PathBuf>,
    setting: String,
}

type Content = BTreeMap<String, BTreeMap<String, Form>>;

impl FormCache {
    /// In the folder that the environment names, or in the user's cache. Nothing is kept where there is neither.
    pub fn of_user(setting: String) -> Self {
        let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let user =
            || given("XDG_CACHE_HOME").or_else(|| Some(given("HOME")?.join(".cache"))).map(|c| c.join("pydarts"));
        FormCache { path: given(FOLDER).or_else(user).map(|folder| folder.join("forms.json")), setting }
    }

    /// In a file.
    pub fn at(path: PathBuf, setting: String) -> Self {
        FormCache { path: Some(path), setting }
    }

    /// What is known of this setting. A file that cannot be read knows nothing: everything in it can be measured again.
    pub fn known(&self) -> BTreeMap<String, Form> {
        self.path.as_deref().map(read).and_then(|mut content| content.remove(&self.setting)).unwrap_or_default()
    }

    /// Adds a choice; a process killed meanwhile leaves the file as it was. Where this fails, all that is lost is the
    /// time to measure again.
    pub fn keep(&self, site: &str, form: Form) -> io::Result<()> {
        let Some(path) = self.path.as_deref() else { return Ok(()) };
        let mut content = read(path);
        content.entry(self.setting.clone()).or_default().insert(site.to_owned(), form);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&temporary, serde_json::to_vec_pretty(&content)?)?;
        fs::rename(&temporary, path)
    }
}

fn read(path: &Path) -> Content {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}
