import sys
import genglossary_runs.manager
sys.modules[__name__] = genglossary_runs.manager
