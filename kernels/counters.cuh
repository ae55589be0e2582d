#pragma once
// How far a training is, counted on the device (gpunet/counters.py): eight int64. A batch's first
// kernel copies the four from NEXT on to the first four, which the others read.
enum Counter { UPDATE = 0, CALL = 1, ROW = 2, BATCH = 3, NEXT = 4 };
