//! Checkpoints: safetensors files with everything that a run needs to resume, written atomically.
//!
//! A file is written under a temporary name, synchronised, then renamed: a process killed at any moment leaves the
//! previous checkpoints intact. Tensors are stored by name (`weight/…`, `momentum/…`, `buffer/…`, `alpha/…`,
//! `exp_avg/…`, `exp_avg_sq/…`, `carried/…`, `trajectory`, `trajectory_steps`), never by their place in a vector.

mod bytes;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::SafeTensors;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use bytes::{Bytes, tensor_of};

use crate::config::SearchConfig;
use crate::error::{Error, ErrorKind, Result, cut};
use crate::nn::Network;
use crate::optim::Moments;
use crate::params::{Table, check_alphas};
use crate::search::{Carried, Fingerprint, Progress, State, Trajectory};

const FORMAT: &str = "pydarts-checkpoint-3";
/// The format of earlier versions, without a checksum and without the counts of running statistics.
const OLDER: &str = "pydarts-checkpoint-2";
/// The text before the checksum in the metadata of the file. The checksum is CRC-32 as 8 hexadecimal digits, computed
/// with zeros in their place. `python/pydarts/_values/files.py` writes the same.
const SEAL: &[u8] = b"\"crc32\":\"";
const BLANK: &[u8] = b"00000000";
const SUFFIX: &str = ".safetensors";
const TEMPORARY: &str = ".tmp";
const PREFIX: &str = "checkpoint-";
/// The least number of digits of a step in a file name.
const DIGITS: usize = 10;
/// The number of checkpoints that are kept: if one cannot be read, the other can.
const KEPT: usize = 2;

/// Everything that is not a tensor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    config: SearchConfig,
    /// Empty in files of earlier versions.
    #[serde(default)]
    fingerprint: Fingerprint,
    progress: Progress,
    adam_step: u64,
    threads: i32,
    /// Written by earlier versions.
    #[serde(default, skip_serializing, rename = "forms")]
    _forms: IgnoredAny,
}

/// A checkpoint that was read.
#[derive(Debug)]
pub struct Restored {
    /// The configuration of the run that wrote it.
    pub config: SearchConfig,
    /// The progress of the run.
    pub progress: Progress,
    /// Weights, logits and the state of the optimisers.
    pub state: State,
    /// α over time.
    pub trajectory: Trajectory,
    /// The number of CPU threads of the run that wrote it: gradient bits depend on it.
    pub threads: i32,
    buffers: Vec<(String, Tensor)>,
}

impl Restored {
    /// Loads the buffers into the network.
    pub fn restore_buffers(&self, network: &dyn Network) -> Result<()> {
        match network.buffers() {
            Some(buffers) => buffers.load(&self.buffers).map_err(as_checkpoint_error),
            None => Ok(()),
        }
    }
}

/// The path of the checkpoint after `step` completed steps.
fn path(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{step:0DIGITS$}{SUFFIX}"))
}

/// The checkpoints in a folder, oldest first; none if the folder does not exist.
pub fn checkpoints(folder: &Path) -> Result<Vec<PathBuf>> {
    list(folder, SUFFIX)
}

fn list(folder: &Path, suffix: &str) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| io_error(folder, e))? {
        let path = entry.map_err(|e| io_error(folder, e))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        // "checkpoint-best.safetensors" is a user's copy, which must be neither read nor removed.
        let number = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(suffix));
        if let Some(step) = number.filter(|text| text.len() >= DIGITS).and_then(|text| text.parse::<u64>().ok()) {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Writes a checkpoint and removes all but the newest two.
pub fn save(
    folder: &Path,
    network: &dyn Network,
    (config, fingerprint): (&SearchConfig, &Fingerprint),
    state: &State,
    progress: &Progress,
    trajectory: &Trajectory,
) -> Result<PathBuf> {
    let mut tensors = Vec::new();
    let mut add = |prefix: &str, table: &Table, flat: &Tensor| -> Result<()> {
        for (name, tensor) in table.unpack(flat)? {
            tensors.push((format!("{prefix}/{name}"), Bytes::of(&tensor)?));
        }
        Ok(())
    };
    add("weight", network.weights(), &state.w)?;
    add("momentum", network.weights(), &state.momentum)?;
    add("alpha", network.alphas(), &state.alpha)?;
    add("exp_avg", network.alphas(), &state.moments.exp_avg)?;
    add("exp_avg_sq", network.alphas(), &state.moments.exp_avg_sq)?;
    for (name, tensor) in network.buffers().map(|buffers| buffers.named()).transpose()?.unwrap_or_default() {
        tensors.push((format!("buffer/{name}"), Bytes::of(&tensor)?));
    }
    for (name, tensor) in [("train", &state.carried.train), ("valid", &state.carried.valid)] {
        if let Some(tensor) = tensor {
            tensors.push((format!("carried/{name}"), Bytes::of(tensor)?));
        }
    }
    let steps: Vec<i64> = trajectory.steps.iter().map(|&s| s as i64).collect();
    tensors.push(("trajectory_steps".into(), Bytes::of(&Tensor::f_from_slice(&steps)?)?));
    let points = Tensor::f_from_slice(&trajectory.points.concat())?
        .f_view([trajectory.points.len() as i64, network.alphas().total()])?;
    tensors.push(("trajectory".into(), Bytes::of(&points)?));

    let header = Header {
        format: FORMAT.into(),
        config: config.clone(),
        fingerprint: fingerprint.clone(),
        progress: progress.clone(),
        adam_step: state.moments.step,
        threads: tch::get_num_threads(),
        _forms: IgnoredAny,
    };
    let header = serde_json::to_string(&header).map_err(|e| Error::engine(e.to_string()))?;
    let blank = String::from_utf8_lossy(BLANK).into_owned();
    let metadata = HashMap::from([("pydarts".to_owned(), header), ("crc32".to_owned(), blank)]);
    let mut bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|e| Error::engine(e.to_string()))?;
    if let Some((at, checksum)) = seal(&bytes) {
        bytes[at..at + BLANK.len()].copy_from_slice(checksum.as_bytes());
    }

    fs::create_dir_all(folder).map_err(|e| io_error(folder, e))?;
    // Temporary files are left by writes that were killed. They may fill the disk, so they are removed first.
    for path in list(folder, TEMPORARY)? {
        fs::remove_file(&path).map_err(|e| io_error(&path, e))?;
    }
    let target = path(folder, progress.step);
    let temporary = target.with_extension("tmp");
    let written = write_synced(&temporary, &bytes).map_err(|e| io_error(&temporary, e));
    let renamed = written.and_then(|()| fs::rename(&temporary, &target).map_err(|e| io_error(&target, e)));
    if renamed.is_err() {
        let _ = fs::remove_file(&temporary); // the first error says more than one about this
    }
    renamed?;
    // The rename itself must reach the disk, or a power cut could bring the old directory back.
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| io_error(folder, e))?;
    let found = list(folder, SUFFIX)?;
    for path in &found[..found.len().saturating_sub(KEPT)] {
        fs::remove_file(path).map_err(|e| io_error(path, e))?;
    }
    Ok(target)
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Reads a checkpoint of a network of the same space and size.
pub fn load(path: &Path, network: &dyn Network) -> Result<Restored> {
    let bytes = fs::read(path).map_err(|e| io_error(path, e))?;
    read(&bytes, network).map_err(|error| in_file(path, error))
}

/// The configuration and the fingerprint of the run that wrote a checkpoint.
pub fn load_config(path: &Path) -> Result<(SearchConfig, Fingerprint)> {
    let header = read_header(path)?;
    Ok((header.config, header.fingerprint))
}

fn read_header(path: &Path) -> Result<Header> {
    let bytes = fs::read(path).map_err(|e| io_error(path, e))?;
    header(&bytes).map_err(|error| in_file(path, error))
}

fn header(bytes: &[u8]) -> Result<Header> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let unknown = || Error::checkpoint("a safetensors file, but not a pydarts checkpoint");
    let text = metadata.metadata().as_ref().and_then(|m| m.get("pydarts")).ok_or_else(unknown)?;
    let header: Header =
        serde_json::from_str(text).map_err(|e| Error::checkpoint(format!("the header cannot be parsed: {e}")))?;
    if header.format != FORMAT && header.format != OLDER {
        let format = cut(&header.format);
        return Err(Error::checkpoint(format!(
            "the format is {format:?}; this version reads {FORMAT:?} and {OLDER:?}"
        )));
    }
    let intact = match seal(bytes) {
        Some((at, checksum)) => bytes[at..].starts_with(checksum.as_bytes()),
        None => header.format == OLDER,
    };
    if intact { Ok(header) } else { Err(Error::checkpoint(format!("its checksum differs. {DAMAGED}"))) }
}

/// Where a file holds its checksum, and the checksum of the file without it.
fn seal(bytes: &[u8]) -> Option<(usize, String)> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let header = bytes.get(8..8usize.checked_add(usize::try_from(length).ok()?)?)?;
    let at = 8 + header.windows(SEAL.len()).position(|window| window == SEAL)? + SEAL.len();
    let mut hasher = crc32fast::Hasher::new();
    for part in [&bytes[..at], BLANK, bytes.get(at + BLANK.len()..)?] {
        hasher.update(part);
    }
    Some((at, format!("{:08x}", hasher.finalize())))
}

const DAMAGED: &str =
    "It is truncated or damaged, or another kind of file. Remove it to resume from the previous checkpoint";

fn damaged(error: safetensors::SafeTensorError) -> Error {
    Error::checkpoint(format!("not a whole checkpoint. {DAMAGED}")).with_source(error)
}

fn read(bytes: &[u8], network: &dyn Network) -> Result<Restored> {
    let header = header(bytes)?;
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut groups: HashMap<&str, Vec<(String, Tensor)>> = HashMap::new();
    let mut trajectory = (None, None);
    for (name, view) in file.iter() {
        let tensor = tensor_of(&name, &view)?;
        match name.split_once('/') {
            Some((group, name)) => groups.entry(group).or_default().push((name.to_owned(), tensor)),
            None if name == "trajectory" => trajectory.0 = Some(tensor),
            None if name == "trajectory_steps" => trajectory.1 = Some(tensor),
            None => return Err(Error::checkpoint(format!("unexpected tensor {name}"))),
        }
    }
    let mut flat = |group: &str, table: &Table| -> Result<Tensor> {
        let tensors = groups.remove(group).unwrap_or_default();
        if let Some((name, t)) = tensors.iter().find(|(_, t)| t.kind() != network.kind()) {
            let (found, expected) = (t.kind(), network.kind());
            return Err(Error::checkpoint(format!("expected {name} of dtype {expected:?}, got {found:?}")));
        }
        table.pack(&tensors, network.kind(), network.device())
    };
    let (weights, alphas) = (network.weights(), network.alphas());
    let mut state = State {
        w: flat("weight", weights)?,
        momentum: flat("momentum", weights)?,
        alpha: flat("alpha", alphas)?,
        moments: Moments {
            exp_avg: flat("exp_avg", alphas)?,
            exp_avg_sq: flat("exp_avg_sq", alphas)?,
            step: header.adam_step,
        },
        carried: Carried::default(),
        step: header.progress.step,
    };
    check_alphas(alphas, &state.alpha)?;
    for (name, tensor) in groups.remove("carried").unwrap_or_default() {
        let carried = match name.as_str() {
            "train" => &mut state.carried.train,
            "valid" => &mut state.carried.valid,
            _ => return Err(Error::checkpoint(format!("unexpected tensor carried/{name}"))),
        };
        *carried = Some(tensor.f_to_device(network.device())?.f_to_kind(network.kind())?);
    }
    let (Some(points), Some(steps)) = trajectory else {
        return Err(Error::checkpoint("the α trajectory is missing"));
    };
    let trajectory = restore_trajectory(&points, &steps, alphas.total())?;
    // Earlier versions had no buffers but running statistics.
    let mut buffers = groups.remove("buffer").or_else(|| groups.remove("statistic")).unwrap_or_default();
    if let Some(kept) = network.buffers() {
        let added = kept.added_since_format_2(header.progress.step);
        let given = |name: &String| buffers.iter().any(|(other, _)| other == name);
        if header.format == OLDER {
            buffers.extend(added);
        } else if let Some((missing, _)) = added.iter().find(|(name, _)| !given(name)) {
            return Err(Error::checkpoint(format!("the tensor buffer/{missing} is missing")));
        }
        // Check here, where the error names the file; the network is changed only after everything was read.
        kept.check(&buffers)?;
    }
    let Header { config, progress, threads, .. } = header;
    Ok(Restored { config, progress, state, trajectory, threads, buffers })
}

fn restore_trajectory(points: &Tensor, steps: &Tensor, width: i64) -> Result<Trajectory> {
    let n = steps.numel();
    if points.size() != [n as i64, width] || points.kind() != Kind::Double || steps.kind() != Kind::Int64 {
        return Err(Error::checkpoint(format!(
            "expected an α trajectory of shape [{n}, {width}], got {:?}",
            points.size()
        )));
    }
    let mut values = vec![0.0; points.numel()];
    let mut counts = vec![0i64; n];
    let total = values.len();
    points.f_copy_data(&mut values, total)?;
    steps.f_copy_data(&mut counts, n)?;
    Ok(Trajectory {
        steps: counts.into_iter().map(|s| s as u64).collect(),
        points: values.chunks(width.max(1) as usize).map(<[f64]>::to_vec).collect(),
    })
}

/// Adds the path of the file to an error in its content.
fn in_file(path: &Path, error: Error) -> Error {
    Error { detail: format!("{}: {}", path.display(), error.detail), ..as_checkpoint_error(error) }
}

/// Errors in the content are errors of the checkpoint, whichever module found them.
fn as_checkpoint_error(error: Error) -> Error {
    match error.kind {
        ErrorKind::NotFound | ErrorKind::Io | ErrorKind::OutOfMemory => error,
        _ => Error { kind: ErrorKind::Checkpoint, ..error },
    }
}

fn io_error(path: &Path, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("{}: {error}", path.display())).with_source(error)
}
