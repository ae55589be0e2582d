// CuPy looks for this file, and does not compile where nobody has it. Nothing of it is needed.
#pragma once
