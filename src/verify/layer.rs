//! Middleware: a tower layer that lets verified calls through, and an axum extractor.

use super::refusal::Refused;
use super::verifier::Verifier;
use http::{Request, Response};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// A tower layer: whoever has no good token is answered at once; everybody else arrives with a [`super::Caller`] in the
/// request's extensions. Headers such as `X-User-Id` are never looked at. An answer that refuses has the [`Refused`] in its
/// extensions, for whatever logs outside of this layer.
#[derive(Debug, Clone)]
pub struct VerifyLayer {
    verifier: Verifier,
    scopes: Arc<[String]>,
}

impl Verifier {
    /// A layer that lets in whoever has a good token, with any scope.
    pub fn layer(&self) -> VerifyLayer {
        VerifyLayer { verifier: self.clone(), scopes: Arc::default() }
    }
}

impl VerifyLayer {
    /// Only calls whose token has all of these scopes. A client without a good token hears of them too, besides those of
    /// [`super::VerifierBuilder::challenge_scopes`].
    #[must_use]
    pub fn requiring(self, scopes: &[&str]) -> Self {
        Self { scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(), ..self }
    }

    async fn admit<B>(&self, request: &mut Request<B>) -> Result<(), Refused> {
        let token = self.verifier.token_of(request.headers(), request.uri().query())?.to_owned();
        let caller = self.verifier.verify(&token).await?;
        let scopes: Vec<&str> = self.scopes.iter().map(String::as_str).collect();
        caller.require(&scopes)?;
        request.extensions_mut().insert(caller);
        Ok(())
    }
}

impl<S> Layer<S> for VerifyLayer {
    type Service = VerifyService<S>;

    fn layer(&self, inner: S) -> VerifyService<S> {
        VerifyService { inner, layer: self.clone() }
    }
}

/// What [`VerifyLayer`] makes of a service.
#[derive(Debug, Clone)]
pub struct VerifyService<S> {
    inner: S,
    layer: VerifyLayer,
}

impl<S, B, R> Service<Request<B>> for VerifyService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<String> + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let layer = self.layer.clone();
        // The one that was asked whether it is ready is the one that is called.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            match layer.admit(&mut request).await {
                Ok(()) => inner.call(request).await,
                Err(refused) => {
                    let refused = refused.asking_for(&layer.scopes);
                    let mut response = refused.response();
                    response.extensions_mut().insert(refused);
                    Ok(response)
                }
            }
        })
    }
}

/// A handler asks for a [`super::Caller`] where no [`VerifyLayer`] is: a mistake of the backend, answered 500.
#[cfg(feature = "verify-axum")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoVerifier;

#[cfg(feature = "verify-axum")]
mod for_axum {
    use super::super::caller::Caller;
    use super::{NoVerifier, Refused};
    use axum_core::extract::FromRequestParts;
    use axum_core::response::{IntoResponse, Response};
    use http::StatusCode;
    use http::request::Parts;

    impl<S: Send + Sync> FromRequestParts<S> for Caller {
        type Rejection = NoVerifier;

        async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, NoVerifier> {
            parts.extensions.get().cloned().ok_or(NoVerifier)
        }
    }

    impl IntoResponse for NoVerifier {
        fn into_response(self) -> Response {
            (StatusCode::INTERNAL_SERVER_ERROR, "no token is verified here").into_response()
        }
    }

    impl IntoResponse for Refused {
        fn into_response(self) -> Response {
            self.response()
        }
    }
}
