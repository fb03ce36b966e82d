//! Options of the execution: device, precision, memory, recording and checkpoints.

use super::choices::{Graph, Memory, Precision, Record, Resume, Rewrite, choice, record, resume, rewrites};
use super::readers::{device, flag, label, optional, path, whole};
use super::table::options;

options! {
    /// Where and how the search runs, and what it records.
    ExecutionConfig {
        [24] device: String = "auto".to_string() => device, may_differ;
        [25] precision: Precision = Precision::Auto => choice;
        [26] record: Record = Record::Epoch => record;
        [27] checkpoint_dir: Option<String> = None => optional(path), may_differ;
        [28] resume: Resume = Resume::No => resume, may_differ;
        [29] progress: bool = true => flag, may_differ;
        [33] checkpoint_every: Option<usize> = None => optional(whole(1)), may_differ;
        [35] passes: Option<Vec<Rewrite>> = None => optional(rewrites);
        [37] memory: Memory = Memory::Keep => choice;
        [38] micro_batch: Option<usize> = None => optional(whole(1));
        [39] log_every: usize = 1 => whole(1), may_differ;
        [40] graph: Graph = Graph::Auto => choice, may_differ;
        [80] sync_batch_norm: bool = false => flag;
        // The preset from which the configuration was made: a label.
        [79] algorithm: Option<String> = None => optional(label), may_differ;
    }
}
