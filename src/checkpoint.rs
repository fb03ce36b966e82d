//! Checkpoints: safetensors files with everything that a run needs to resume, written atomically.
//!
//! A file is written under a temporary name, synchronised, then renamed: a process killed at any moment leaves the
//! previous checkpoints intact. Tensors are stored by name (`weight/…`, `momentum/…`, `buffer/…`, `alpha/…`,
//! `exp_avg/…`, `exp_avg_sq/…`, `carried/…`, `relaxation/…`, `trajectory`, `trajectory_steps`, `trajectory_epochs`),
//! never by their place in a vector.

mod bytes;
mod files;
mod restrictions;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::SafeTensors;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use bytes::{Bytes, tensor_of};

use crate::arch::{Architecture, Decision, LogitTable};
use crate::config::SearchConfig;
use crate::error::{Error, ErrorKind, Result, cut};
use crate::nn::Network;
use crate::optim::Moments;
use crate::params::{Table, check_alphas};
use crate::relaxation::Restrictions;
use crate::search::{Carried, Fingerprint, Progress, State, Trajectory};

pub use files::{checkpoints, is_kept, keep, kept, kept_epochs, save};

const FORMAT: &str = "pydarts-checkpoint-3";
/// The format of earlier versions, without a checksum and without the counts of running statistics.
const OLDER: &str = "pydarts-checkpoint-2";
/// The text before the checksum in the metadata of the file. The checksum is CRC-32 as 8 hexadecimal digits, computed
/// with zeros in their place. `python/pydarts/_values/files.py` writes the same.
const SEAL: &[u8] = b"\"crc32\":\"";
const BLANK: &[u8] = b"00000000";

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
    /// Files of one process lack it.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    ranks: usize,
    /// Empty in files of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    decisions: Vec<(usize, Decision)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selection: Option<Architecture>,
    /// Written by earlier versions.
    #[serde(default, skip_serializing, rename = "forms")]
    _forms: IgnoredAny,
}

fn one() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_one(ranks: &usize) -> bool {
    *ranks == 1
}

/// What a checkpoint holds.
#[derive(Clone, Copy)]
pub struct Contents<'a> {
    /// The network, for its names and its running statistics.
    pub network: &'a dyn Network,
    /// The configuration of the run.
    pub config: &'a SearchConfig,
    /// What identifies its data and its loss.
    pub fingerprint: &'a Fingerprint,
    /// Weights, logits and the state of the optimisers.
    pub state: &'a State,
    /// The hidden states of the sequences of all ranks.
    pub carried: &'a Carried,
    /// The number of ranks.
    pub ranks: usize,
    /// The progress of the run.
    pub progress: &'a Progress,
    /// α over time.
    pub trajectory: &'a Trajectory,
    /// The masks and frozen rows.
    pub restrictions: &'a Restrictions,
    /// The decisions so far.
    pub decisions: &'a [(usize, Decision)],
    /// What the selection picked from this state, if it was asked.
    pub selection: Option<&'a Architecture>,
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
    /// The masks and frozen rows.
    pub restrictions: Restrictions,
    /// The decisions so far.
    pub decisions: Vec<(usize, Decision)>,
    /// What the selection picked from this state, if it was asked.
    pub selection: Option<Architecture>,
    /// The number of CPU threads of the run that wrote it: gradient bits depend on it.
    pub threads: i32,
    /// The number of ranks of that run: the batches that batch norm sees depend on it.
    pub ranks: usize,
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

/// The bytes of a checkpoint.
pub fn bytes(contents: &Contents) -> Result<Vec<u8>> {
    let Contents { network, state, trajectory, .. } = *contents;
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
    for (name, tensor) in [("train", &contents.carried.train), ("valid", &contents.carried.valid)] {
        if let Some(tensor) = tensor {
            tensors.push((format!("carried/{name}"), Bytes::of(tensor)?));
        }
    }
    for (name, tensor) in restrictions::tensors(contents.restrictions)? {
        tensors.push((format!("relaxation/{name}"), Bytes::of(&tensor)?));
    }
    let steps: Vec<i64> = trajectory.steps.iter().map(|&s| s as i64).collect();
    tensors.push(("trajectory_steps".into(), Bytes::of(&Tensor::f_from_slice(&steps)?)?));
    let epochs: Vec<i64> = trajectory.epochs.iter().map(|&e| e as i64).collect();
    tensors.push(("trajectory_epochs".into(), Bytes::of(&Tensor::f_from_slice(&epochs)?)?));
    let points = Tensor::f_from_slice(&trajectory.points.concat())?
        .f_view([trajectory.points.len() as i64, network.alphas().total()])?;
    tensors.push(("trajectory".into(), Bytes::of(&points)?));

    let header = Header {
        format: FORMAT.into(),
        config: contents.config.clone(),
        fingerprint: contents.fingerprint.clone(),
        progress: contents.progress.clone(),
        adam_step: state.moments.step,
        threads: tch::get_num_threads(),
        ranks: contents.ranks,
        decisions: contents.decisions.to_vec(),
        selection: contents.selection.cloned(),
        _forms: IgnoredAny,
    };
    let header = serde_json::to_string(&header).map_err(|e| Error::engine(e.to_string()))?;
    let blank = String::from_utf8_lossy(BLANK).into_owned();
    let metadata = HashMap::from([("pydarts".to_owned(), header), ("crc32".to_owned(), blank)]);
    let mut bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|e| Error::engine(e.to_string()))?;
    if let Some((at, checksum)) = seal(&bytes) {
        bytes[at..at + BLANK.len()].copy_from_slice(checksum.as_bytes());
    }

    Ok(bytes)
}

/// Reads a checkpoint of a network of the same size with these tables.
pub fn load(path: &Path, network: &dyn Network, tables: &[LogitTable]) -> Result<Restored> {
    let bytes = fs::read(path).map_err(|e| io_error(path, e))?;
    read(&bytes, network, tables).map_err(|error| in_file(path, error))
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

/// As `load`, from bytes.
pub fn read(bytes: &[u8], network: &dyn Network, tables: &[LogitTable]) -> Result<Restored> {
    let header = header(bytes)?;
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut groups: HashMap<&str, Vec<(String, Tensor)>> = HashMap::new();
    let mut trajectory = (None, None, None);
    for (name, view) in file.iter() {
        let tensor = tensor_of(name, &view)?;
        match name.split_once('/') {
            Some((group, name)) => groups.entry(group).or_default().push((name.to_owned(), tensor)),
            None if name == "trajectory" => trajectory.0 = Some(tensor),
            None if name == "trajectory_steps" => trajectory.1 = Some(tensor),
            None if name == "trajectory_epochs" => trajectory.2 = Some(tensor),
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
    let (Some(points), Some(steps), epochs) = trajectory else {
        return Err(Error::checkpoint("the α trajectory is missing"));
    };
    let trajectory = restore_trajectory(&points, (&steps, epochs.as_ref()), alphas.total(), &header.progress)?;
    let restrictions = restrictions::restore(tables, groups.remove("relaxation").unwrap_or_default())?;
    if let Some(selection) = &header.selection {
        restrictions::check(tables, selection)?;
    }
    // Earlier versions had no buffers but running statistics.
    let mut buffers = groups.remove("buffer").or_else(|| groups.remove("statistic")).unwrap_or_default();
    if let Some(group) = groups.keys().min() {
        return Err(Error::checkpoint(format!("unexpected tensors {group}/…")));
    }
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
    let Header { config, progress, threads, ranks, decisions, selection, .. } = header;
    Ok(Restored { config, progress, state, trajectory, restrictions, decisions, selection, threads, ranks, buffers })
}

fn restore_trajectory(
    points: &Tensor,
    (steps, epochs): (&Tensor, Option<&Tensor>),
    width: i64,
    progress: &Progress,
) -> Result<Trajectory> {
    let n = steps.numel();
    if points.size() != [n as i64, width] || points.kind() != Kind::Double {
        return Err(Error::checkpoint(format!(
            "expected an α trajectory of shape [{n}, {width}], got {:?}",
            points.size()
        )));
    }
    let counts = |tensor: &Tensor, name: &str| -> Result<Vec<usize>> {
        let counts = Vec::<i64>::try_from(tensor).ok().filter(|counts| counts.len() == n);
        let counts = counts.and_then(|counts| counts.into_iter().map(|count| usize::try_from(count).ok()).collect());
        counts.ok_or_else(|| Error::checkpoint(format!("expected {name} as {n} whole numbers")))
    };
    let mut values = vec![0.0; points.numel()];
    let total = values.len();
    points.f_copy_data(&mut values, total)?;
    let steps: Vec<u64> = counts(steps, "trajectory_steps")?.into_iter().map(|step| step as u64).collect();
    let epochs = match epochs {
        Some(epochs) => counts(epochs, "trajectory_epochs")?,
        None => steps.iter().map(|step| progress.epoch_of(*step)).collect(),
    };
    Ok(Trajectory { steps, epochs, points: values.chunks(width.max(1) as usize).map(<[f64]>::to_vec).collect() })
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
