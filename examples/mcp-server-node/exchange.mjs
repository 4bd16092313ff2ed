// Token exchange (RFC 8693): the token that came in, for one that the next backend accepts, for the same user.

/**
 * Resolves with the answer of the token endpoint: `access_token`, or `error`. With `consent_required` it has the
 * address of the page where the user can allow it, `consent_uri`.
 */
export function exchanger({ tokenEndpoint, clientId, clientSecret, resource }) {
  const credentials = [clientId, clientSecret].map(encodeURIComponent).join(':');
  const authorization = `Basic ${Buffer.from(credentials).toString('base64')}`;
  return async (subjectToken, scope) => {
    const response = await fetch(tokenEndpoint, {
      method: 'POST',
      headers: { authorization },
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: subjectToken,
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        resource,
        scope,
      }),
    });
    return response.json();
  };
}
