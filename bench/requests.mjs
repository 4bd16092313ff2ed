// The forms that are sent to `/token`.

import { RECORDS } from './procura.mjs';

export const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token';
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

const form = (fields) => new URLSearchParams(fields).toString();

export const exchange = (subject_token, { type = ID_TOKEN, resource = RECORDS, scope = 'records.read' } = {}) =>
  form({ grant_type: EXCHANGE, subject_token, subject_token_type: type, resource, scope });

export const clientCredentials = () => form({ grant_type: 'client_credentials', resource: RECORDS, scope: 'records.read' });
