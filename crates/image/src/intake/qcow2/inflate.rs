//! One compressed cluster becomes exactly one cluster, or it is refused.
//!
//! qcow2.txt, "Compressed Clusters Descriptor": zlib means a raw deflate stream; zstd means
//! frames. The input is rounded up to sectors, so bytes may follow the stream. What this file
//! does *not* do: grow a buffer; the output is one cluster from the start.

use super::super::protocol::Compression;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// The largest zstd window: 8 MiB. A cluster has at most 2 MiB.
const MAX_WINDOW_LOG: u32 = 23;

/// A decompressor that is used again for every cluster.
pub enum Inflater {
    /// Raw deflate.
    Zlib(Decompress),
    /// Zstandard.
    Zstd(Box<Decoder<'static>>),
}

impl Inflater {
    /// One for the declared compression; `None` when zstd can't set itself up.
    pub fn new(compression: Compression) -> Option<Self> {
        match compression {
            Compression::Zlib => Some(Inflater::Zlib(Decompress::new(false))),
            Compression::Zstd => {
                let mut decoder = Decoder::new().ok()?;
                decoder
                    .set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))
                    .ok()?;
                Some(Inflater::Zstd(Box::new(decoder)))
            }
        }
    }

    /// Fills `output` exactly; false when the input does not make that many bytes.
    pub fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> bool {
        match self {
            Inflater::Zlib(stream) => inflate_zlib(stream, input, output),
            Inflater::Zstd(decoder) => inflate_zstd(decoder, input, output),
        }
    }
}

fn inflate_zlib(stream: &mut Decompress, input: &[u8], output: &mut [u8]) -> bool {
    stream.reset(false);
    // A full output is enough, as it is for QEMU: a stream that would go on is not ours to finish.
    let status = stream.decompress(input, output, FlushDecompress::Finish);
    matches!(
        status,
        Ok(Status::StreamEnd | Status::Ok | Status::BufError)
    ) && stream.total_out() == output.len() as u64
}

fn inflate_zstd(decoder: &mut Decoder<'static>, input: &[u8], output: &mut [u8]) -> bool {
    if decoder.reinit().is_err() {
        return false;
    }
    let mut input = InBuffer::around(input);
    let length = output.len();
    let mut output = OutBuffer::around(output);
    while output.pos() < length {
        let before = (input.pos(), output.pos());
        let failed = decoder.run(&mut input, &mut output).is_err();
        if failed || (input.pos(), output.pos()) == before {
            return false;
        }
    }
    true
}
