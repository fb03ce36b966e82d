//! The files of checkpoints in a folder.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Contents, bytes, io_error};
use crate::error::Result;

const SUFFIX: &str = ".safetensors";
const TEMPORARY: &str = ".tmp";
const PREFIX: &str = "checkpoint-";
/// The prefix of a state that a roll back may return to.
const EPOCH: &str = "epoch-";
/// The least number of digits of a number in a file name.
const DIGITS: usize = 10;
/// The number of checkpoints that are kept: if one cannot be read, the other can.
const KEPT: usize = 2;

/// The checkpoints in a folder, oldest first; none if the folder does not exist.
pub fn checkpoints(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(list(folder, PREFIX, SUFFIX)?.into_iter().map(|(_, path)| path).collect())
}

/// The file of the state after `epochs` completed epochs.
pub fn kept(folder: &Path, epochs: usize) -> PathBuf {
    folder.join(format!("{EPOCH}{epochs:0DIGITS$}{SUFFIX}"))
}

/// The files of one sort with their numbers, in order.
fn list(folder: &Path, prefix: &str, suffix: &str) -> Result<Vec<(u64, PathBuf)>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| io_error(folder, e))? {
        let path = entry.map_err(|e| io_error(folder, e))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        // "checkpoint-best.safetensors" is a user's copy, which must be neither read nor removed.
        let number = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
        if let Some(number) = number.filter(|text| text.len() >= DIGITS).and_then(|text| text.parse::<u64>().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Writes a checkpoint and removes all but the newest two. Those of later steps are of epochs that a roll back undid.
pub fn save(folder: &Path, contents: &Contents) -> Result<PathBuf> {
    let step = contents.progress.step;
    let target = folder.join(format!("{PREFIX}{step:0DIGITS$}{SUFFIX}"));
    write(folder, &target, &bytes(contents)?)?;
    let found = list(folder, PREFIX, SUFFIX)?;
    let (current, undone) = found.split_at(found.partition_point(|(number, _)| *number <= step));
    // The newest first: until all of them are gone, the newest that is left precedes the roll back.
    remove(undone.iter().rev())?;
    remove(&current[..current.len().saturating_sub(KEPT)])?;
    Ok(target)
}

/// The numbers of epochs after which the states in a folder were kept.
pub fn kept_epochs(folder: &Path) -> Result<Vec<usize>> {
    Ok(list(folder, EPOCH, SUFFIX)?.into_iter().map(|(epochs, _)| epochs as usize).collect())
}

/// Whether the state after `kept` epochs is still kept after `epochs` by a decider that returns by at most `keeps`. One
/// more than it needs, which resuming from the previous checkpoint needs.
pub fn is_kept(kept: usize, epochs: usize, keeps: usize) -> bool {
    kept <= epochs && kept + keeps >= epochs
}

/// Writes the state after an epoch, and removes those that are not kept any more.
pub fn keep(folder: &Path, contents: &Contents, keeps: usize) -> Result<()> {
    let epochs = contents.progress.epoch;
    write(folder, &kept(folder, epochs), &bytes(contents)?)?;
    let found = list(folder, EPOCH, SUFFIX)?;
    remove(found.iter().filter(|(number, _)| !is_kept(*number as usize, epochs, keeps)))
}

fn remove<'a>(files: impl IntoIterator<Item = &'a (u64, PathBuf)>) -> Result<()> {
    files.into_iter().try_for_each(|(_, path)| fs::remove_file(path).map_err(|e| io_error(path, e)))
}

/// Writes a file under a temporary name, synchronises it, then renames it.
fn write(folder: &Path, target: &Path, bytes: &[u8]) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| io_error(folder, e))?;
    // Temporary files are left by writes that were killed. They may fill the disk, so they are removed first.
    for prefix in [PREFIX, EPOCH] {
        remove(&list(folder, prefix, TEMPORARY)?)?;
    }
    let temporary = target.with_extension("tmp");
    let written = write_synced(&temporary, bytes).map_err(|e| io_error(&temporary, e));
    let renamed = written.and_then(|()| fs::rename(&temporary, target).map_err(|e| io_error(target, e)));
    if renamed.is_err() {
        let _ = fs::remove_file(&temporary); // the first error says more than one about this
    }
    renamed?;
    // The rename itself must reach the disk, or a power cut could bring the old directory back.
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| io_error(folder, e))
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
