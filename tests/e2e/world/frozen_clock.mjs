// For node --import: the clock of the program stands at FROZEN_AT, Unix seconds.

import { mock } from 'node:test';

mock.timers.enable({ apis: ['Date'], now: Number(process.env.FROZEN_AT) * 1000 });
