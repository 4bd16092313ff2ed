//! What the commands that sign need: the database, its keys, and the key that they are sealed with.

use crate::audit::checkpoint::Notary;
use crate::audit::seen::Seen;
use crate::cli::{CliError, Context, secrets_key};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::checkpoint::Checkpoint;
use crate::domain::resource::SigningAlgorithm;
use crate::store::Store;
use crate::tokens::checkpoint::{EvidenceKeys, sign_checkpoint};
use crate::tokens::signing_keys::SigningKeys;

/// All of it.
pub(super) struct Evidence {
    pub(super) config: Config,
    pub(super) store: Store,
    /// Those that signed.
    pub(super) keys: EvidenceKeys,
    /// The newest checkpoint that is kept outside.
    seen: Seen,
    /// Those that sign.
    pub(super) signing: SigningKeys,
    /// Unix milliseconds.
    pub(super) now_ms: i64,
}

impl Evidence {
    pub(super) async fn open(context: &Context) -> Result<Self, CliError> {
        let config = context.config()?;
        let store = context.store_that_is_there(&config).await?;
        let key = secrets_key(&config, &store).await?;
        let records = store.list_signing_keys().await?;
        let now_ms = Clock::System.now_ms();
        let signing = SigningKeys::open(&records, &key, now_ms.div_euclid(1000));
        let signing = signing.map_err(|problem| CliError::new(problem.to_string()))?;
        let seen = Seen::kept_in(config.evidence.checkpoint_file.clone());
        Ok(Self { seen, keys: EvidenceKeys::of_records(&records, Some(&key)), signing, config, store, now_ms })
    }

    /// Unix seconds.
    pub(super) fn now(&self) -> i64 {
        self.now_ms.div_euclid(1000)
    }

    /// What makes checkpoints, by this signature.
    pub(super) fn notary<'a>(&'a self, sign: &'a (dyn Fn(&Checkpoint) -> Result<String, String> + Sync)) -> Notary<'a> {
        Notary { store: &self.store, issuer: &self.config.issuer, reader: &self.keys, seen: &self.seen, sign }
    }

    /// Signs a checkpoint.
    pub(super) fn sign(&self, checkpoint: &Checkpoint) -> Result<String, String> {
        sign_checkpoint(&self.signing, checkpoint)
    }

    /// The key that signs now.
    pub(super) fn kid(&self) -> Result<&str, CliError> {
        let key = self.signing.signer(SigningAlgorithm::ES256, self.now());
        key.map(crate::tokens::signing_keys::SigningKey::kid).ok_or_else(|| {
            CliError::new(
                "there is no ES256 key that signs now: procura serve makes the first one, or procura keys rotate",
            )
        })
    }
}
