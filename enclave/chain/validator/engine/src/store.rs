//! Blocks that this validator voted for, on its disk before it votes: after a crash of all validators somebody still has them.

use commonware_runtime::{Blob, Error, ReadOptions, Storage, WriteOptions};
use hanzo_attestation::Digest256;
use hanzo_ledger::{BLOCK_BYTES_MAX, Block, Canonical};

/// One file a block, under its id: SHA-256 of the bytes (32), the bytes.
pub(crate) struct Store<E> {
    context: E,
    partition: String,
}

impl<E: Storage> Store<E> {
    pub(crate) fn new(context: E, partition: &str) -> Self {
        let partition = format!("{partition}-blocks");
        Self { context, partition }
    }

    /// Every whole block. A torn or changed file is no block; it is taken away.
    pub(crate) async fn load(&self) -> Result<Vec<Block>, Error> {
        let names = match self.context.scan(&self.partition).await {
            Ok(names) => names,
            Err(Error::PartitionMissing(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut blocks = Vec::new();
        for name in names {
            match self.read(&name).await? {
                Some(block) if block.header.id().0.as_slice() == name.as_slice() => blocks.push(block),
                _ => self.context.remove(&self.partition, Some(&name)).await?,
            }
        }
        Ok(blocks)
    }

    async fn read(&self, name: &[u8]) -> Result<Option<Block>, Error> {
        let (blob, len) = self.context.open(&self.partition, name).await?;
        let Ok(len) = usize::try_from(len) else {
            return Ok(None);
        };
        if !(32..=32 + BLOCK_BYTES_MAX).contains(&len) {
            return Ok(None);
        }
        let bytes = blob.read_at(0, len, ReadOptions::default()).await?.coalesce();
        let Some((sum, document)) = bytes.as_ref().split_at_checked(32) else {
            return Ok(None);
        };
        if Digest256::of(document).0.as_slice() != sum {
            return Ok(None);
        }
        Ok(Block::parse(document).ok())
    }

    /// Durable when this returns.
    pub(crate) async fn put(&self, id: &Digest256, block: &Block) -> Result<(), Error> {
        let document = block.to_bytes();
        let mut bytes = Digest256::of(&document).0.to_vec();
        bytes.extend_from_slice(&document);
        let (blob, _) = self.context.open(&self.partition, &id.0).await?;
        blob.resize(0).await?;
        blob.write_at(0, bytes, WriteOptions::default()).await?;
        blob.sync().await
    }

    /// Takes a block away; one that is not there is none.
    pub(crate) async fn remove(&self, id: &Digest256) -> Result<(), Error> {
        match self.context.remove(&self.partition, Some(&id.0)).await {
            Ok(()) | Err(Error::BlobMissing(..) | Error::PartitionMissing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
